import CLinux
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

extension SessionTests {
    @Test func theNextAttemptBeginsWhenRetryinSays() throws {
        let test = try TestSession()
        let body = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
        test.connect()
        for attempt in 1...3 {
            let peer = try test.listener.accept(test.loop)
            _ = try peer.receiveRequest(test.loop)
            peer.send(body)
            try test.awaitEvents(attempt)
            let event = try #require(test.events.last)
            #expect(event.name == "ERROR" && event.text("kind") == "handshake")
            #expect(event.integer("attempt") == attempt && event.integer("status") == 503)
            let delay = 0.1 * Double(1 << (attempt - 1))
            let wait = try #require(event.number("retryin"))
            #expect(0.75 * delay...1.25 * delay ~= wait)
            #expect(test.websocket.state == .waiting)
            test.loop.pass(wait - 0.001)
            test.loop.runOnce()
            #expect(test.listener.accept() == nil && test.websocket.state == .waiting)
            test.loop.pass(0.002)
            #expect(test.websocket.state == .connecting && test.websocket.attempts == attempt + 1)
        }
    }

    @Test func aServersRetryAfterIsKeptUpToAMinute() throws {
        for (asked, wait) in [(2, 2.0), (3600, 60.0)] {
            let test = try TestSession()
            test.connect()
            let peer = try test.listener.accept(test.loop)
            _ = try peer.receiveRequest(test.loop)
            peer.send("HTTP/1.1 503 Busy\r\nRetry-After: \(asked)\r\nContent-Length: 0\r\n\r\n")
            try test.awaitEvents(1)
            #expect(test.events[0].number("retryin") == wait)
        }
        let patient = try TestSession { $0.maxReconnectWait = 120 }
        patient.connect()
        let peer = try patient.listener.accept(patient.loop)
        _ = try peer.receiveRequest(patient.loop)
        peer.send("HTTP/1.1 503 Busy\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n")
        try patient.awaitEvents(1)
        #expect(patient.events[0].number("retryin") == 120)
    }

    @Test func aConnectionThatLastedIsReplacedAtOnce() throws {
        let test = try TestSession()
        test.connect()
        let peer = try test.open()
        test.loop.pass(1)
        peer.close()
        try test.awaitEvents(2)
        #expect(test.events[1].number("retryin") == 0 && !test.events[1].isFinal)
        test.loop.pass(0)
        _ = try test.open()
        #expect(test.names == "OPEN CLOSE OPEN")
        #expect(test.websocket.attempts == 0)
    }

    @Test func errorAndCloseReportTheSameRetryin() throws {
        let test = try TestSession()
        test.connect()
        let peer = try test.open()
        // A text message that is not UTF-8.
        peer.send([0x81, 1, 0xFF])
        #expect(try peer.receiveClose(test.loop) == 1007)
        try test.awaitEvents(3)
        #expect(test.names == "OPEN ERROR CLOSE")
        let wait = try #require(test.events[1].number("retryin"))
        #expect(wait > 0 && test.events[2].number("retryin") == wait)
        #expect(test.events[1].text("kind") == "protocol")
    }

    @Test func aPermanentFailureIsTheLastEvent() throws {
        let test = try TestSession()
        test.connect()
        let peer = try test.listener.accept(test.loop)
        _ = try peer.receiveRequest(test.loop)
        peer.send("HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nbody")
        try test.awaitEvents(1)
        #expect(test.names == "ERROR!")
        #expect(test.events[0].info["retryin"] == nil)
        #expect(test.events[0].integer("status") == 403 && test.events[0].text("body") == "body")
        #expect(test.session.isOver && test.websocket.state == .closed)
        test.loop.pass(600)
        #expect(test.names == "ERROR!")
        // And the websocket can be used again.
        test.connect()
        _ = try test.open()
        #expect(test.names == "ERROR! OPEN")
    }

    @Test func theNumberOfRetriesIsLimited() throws {
        let test = try TestSession("ws://127.0.0.1:\(try Listener.closedPort())/") { $0.reconnect = 2 }
        test.connect()
        for count in 1...3 {
            try test.awaitEvents(count)
            test.loop.pass(1)
        }
        #expect(test.names == "ERROR ERROR ERROR!")
        #expect(test.session.isOver)
    }

    @Test func noAttemptBeginsWhileTheScriptIsBehind() throws {
        let test = try TestSession("ws://127.0.0.1:\(try Listener.closedPort())/") { $0.maxQueued = 1 }
        test.connect()
        try test.loop.run(until: { !test.queue.isEmpty })
        test.loop.pass(600)
        #expect(test.websocket.state == .waiting && test.websocket.attempts == 1)
        // The script delivers the ERROR.
        #expect(test.names == "ERROR")
        try test.loop.run(until: { test.websocket.attempts == 2 }, "it does not go on")
    }
}
