// The option `onattempt`: the question before each attempt, and what the script's answer changes.

import CEvents
import CLinux
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

extension SessionTests {
    private func asking(_ change: (inout Options) -> Void = { _ in }) throws -> TestSession {
        let test = try TestSession {
            $0.asksBeforeAttempt = true
            change(&$0)
        }
        test.connect()
        return test
    }

    /// The number of the question that was published last.
    private func question(_ test: TestSession, attempt: Int = 1, sourceLocation: SourceLocation = #_sourceLocation)
        throws
        -> UInt32
    {
        test.poll()
        let event = try #require(test.events.last, sourceLocation: sourceLocation)
        #expect(event.name == "ATTEMPT" && event.integer("attempt") == attempt, sourceLocation: sourceLocation)
        #expect(test.websocket.state == .connecting, sourceLocation: sourceLocation)
        return UInt32(try #require(event.integer("question"), sourceLocation: sourceLocation))
    }

    private func answer(_ test: TestSession, _ question: UInt32, _ answer: AttemptAnswer) {
        test.perform { $0.answered(question, answer, &$1) }
    }

    private func answer(_ test: TestSession, attempt: Int = 1, _ change: (inout Options) throws -> Void) throws {
        var options = test.websocket.options
        try change(&options)
        answer(test, try question(test, attempt: attempt), .goWith(options))
    }

    @Test func nothingIsOpenedBeforeTheAnswer() throws {
        let test = try asking()
        let number = try question(test)
        test.loop.pass(20)
        test.loop.runOnce()
        #expect(test.listener.accept() == nil)
        answer(test, number, .go)
        // The attempt has all of its time still.
        test.loop.pass(29)
        _ = try test.open()
        #expect(test.names == "ATTEMPT OPEN")
        #expect(!test.websocket.sendQueue.withLock { $0.isCurrent(number) })
    }

    @Test func eachAttemptIsAQuestionOfItsOwn() throws {
        let test = try asking()
        let first = try question(test)
        answer(test, first, .go)
        let peer = try test.listener.accept(test.loop)
        _ = try peer.receiveRequest(test.loop)
        peer.send("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        try test.awaitEvents(2)
        #expect(test.names == "ATTEMPT ERROR" && test.events[1].integer("attempt") == 1)
        test.loop.pass(1)
        let second = try question(test, attempt: 2)
        #expect(second != first && second != 0)
        // The answer to the first question is no answer to the second.
        answer(test, first, .go)
        test.loop.runOnce()
        #expect(test.listener.accept() == nil)
        answer(test, second, .go)
        let next = try test.open()
        // After an open connection it is the first attempt again.
        next.close()
        try test.awaitEvents(5)
        test.loop.pass(1)
        _ = try question(test, attempt: 1)
        #expect(test.names == "ATTEMPT ERROR ATTEMPT OPEN CLOSE ATTEMPT")
    }

    @Test func withoutAnAnswerTheAttemptFailsAfterItsTime() throws {
        let test = try asking { $0.connectTimeout = 7 }
        let number = try question(test)
        test.loop.pass(6.9)
        #expect(test.names == "ATTEMPT")
        test.loop.pass(0.1)
        #expect(test.names == "ATTEMPT ERROR")
        let event = test.events[1]
        let url = "ws://127.0.0.1:\(test.listener.port)/"
        #expect(
            event.error == "Unable to connect to \(url): onattempt gave no answer within the connecttimeout of 7.0 s")
        #expect(event.text("kind") == "timeout" && event.integer("attempt") == 1 && event.number("retryin") != nil)
        #expect(!test.websocket.sendQueue.withLock { $0.isCurrent(number) })
        // Too late.
        answer(test, number, .go)
        test.loop.runOnce()
        #expect(test.listener.accept() == nil && test.websocket.state == .waiting)
        test.loop.pass(1)
        answer(test, try question(test, attempt: 2), .go)
        _ = try test.open()
    }

    @Test func closeTakesTheQuestionBack() throws {
        let test = try asking()
        let number = try question(test)
        test.close()
        #expect(test.names == "ATTEMPT ENDED!" && test.session.isOver)
        answer(test, number, .go)
        test.loop.runOnce()
        #expect(test.listener.accept() == nil && test.names == "ATTEMPT ENDED!")
        // The answer to it is none for the next connect either.
        test.connect()
        answer(test, number, .go)
        #expect(try question(test) != number)
        #expect(test.listener.accept() == nil)
    }

    @Test func anAnswerCountsForItsAttemptOnly() throws {
        let other = try Listener()
        let test = try asking {
            $0.headers.append("X-Token", "old")
            $0.protocols = ["old"]
        }
        try answer(test) {
            try $0.set("url", .string("ws://u:p@127.0.0.1:\(other.port)/other"))
            try $0.set("headers", .list)
            try $0.addHeader("X-New", "new")
            try $0.addHeader("Cookie", "a=b")
            try $0.set("protocols", .list)
            try $0.set("protocols", .string("new"))
        }
        let peer = try other.accept(test.loop)
        let request = try peer.receiveRequest(test.loop)
        for line in [
            "GET /other HTTP/1.1", "Host: 127.0.0.1:\(other.port)", "X-New: new", "Cookie: a=b",
            "Authorization: Basic dTpw", "Sec-WebSocket-Protocol: new",
        ] {
            #expect(request.contains("\(line)\r\n"))
        }
        #expect(!request.contains("old"))
        peer.send(Peer.response(to: request))
        try test.awaitEvents(2)
        #expect(test.events[1].name == "OPEN" && test.events[1].text("url") == "ws://127.0.0.1:\(other.port)/other")
        // An ERROR names the URL that was in use.
        peer.send([0x83, 0])
        try test.awaitEvents(4)
        #expect(test.events[2].error.hasPrefix("Connection to ws://127.0.0.1:\(other.port)/other failed: "))
        test.loop.pass(1)
        answer(test, try question(test), .go)
        let next = try test.listener.accept(test.loop).receiveRequest(test.loop)
        #expect(next.hasPrefix("GET / HTTP/1.1\r\n") && next.contains("X-Token: old\r\n"))
        #expect(next.contains("Sec-WebSocket-Protocol: old\r\n") && !next.contains("X-New"))
        #expect(other.accept() == nil)
    }

    @Test func anAnswerMayNameAProxy() throws {
        let proxy = try Listener()
        let test = try asking()
        try answer(test) { try $0.set("proxy", .string("http://127.0.0.1:\(proxy.port)")) }
        let request = try proxy.accept(test.loop).receiveRequest(test.loop)
        #expect(request.hasPrefix("CONNECT 127.0.0.1:\(test.listener.port) HTTP/1.1\r\n"))
    }

    @Test func anErrorNamesTheURLOfTheAttempt() throws {
        let port = try Listener.closedPort()
        let test = try asking()
        try answer(test) { try $0.set("url", .string("ws://127.0.0.1:\(port)/x")) }
        try test.awaitEvents(2)
        #expect(test.events[1].error.hasPrefix("Unable to connect to ws://127.0.0.1:\(port)/x: "))
        #expect(test.events[1].text("kind") == "connect")
    }

    @Test func aRedirectIsNoNewAttempt() throws {
        let other = try Listener()
        let test = try asking()
        answer(test, try question(test), .go)
        let peer = try test.listener.accept(test.loop)
        _ = try peer.receiveRequest(test.loop)
        peer.send("HTTP/1.1 307 There\r\nLocation: ws://127.0.0.1:\(other.port)/\r\nContent-Length: 0\r\n\r\n")
        _ = try other.accept(test.loop).receiveRequest(test.loop)
        #expect(test.names == "ATTEMPT")
    }

    @Test func aFailedAnswerFailsTheAttemptAtOnce() throws {
        let test = try asking { $0.reconnect = 1 }
        answer(test, try question(test), .failed("no token"))
        #expect(test.names == "ATTEMPT ERROR")
        #expect(test.events[1].error.hasSuffix("/: onattempt failed: no token"))
        #expect(test.events[1].text("kind") == "system" && test.events[1].number("retryin") != nil)
        test.loop.pass(1)
        answer(test, try question(test, attempt: 2), .failed("no token"))
        #expect(test.names == "ATTEMPT ERROR ATTEMPT ERROR!")
    }
}
