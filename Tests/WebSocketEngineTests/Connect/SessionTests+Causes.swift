// Why a CLOSE comes without a Close frame: each way to the code 1006.

import CEvents
import CLinux
import COpenSSL
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

extension SessionTests {
    private static let peerClosed = "the peer closed the connection without a Close frame"

    /// Asserts that the last event is a CLOSE with this cause, behind these other events.
    private func expect(
        _ test: TestSession, _ cause: String, after names: String = "OPEN",
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        try test.loop.run(
            until: { test.names.contains("CLOSE") }, "\(test.events)", sourceLocation: sourceLocation)
        #expect(test.names.hasPrefix("\(names) CLOSE"), sourceLocation: sourceLocation)
        let event = try #require(test.events.last)
        #expect(event.error == cause && event.text("cause") == cause, sourceLocation: sourceLocation)
        #expect(event.integer("code") == 1006 && event.text("reason") == "", sourceLocation: sourceLocation)
        #expect(event.info["clean"] == .boolean(false), sourceLocation: sourceLocation)
    }

    private func opened(_ change: (inout Options) -> Void = { _ in }) throws -> (TestSession, Peer) {
        let test = try TestSession(nil, change)
        test.connect()
        return (test, try test.open())
    }

    @Test func aCloseFrameNeedsNoCause() throws {
        let (test, peer) = try opened()
        peer.sendClose()
        try test.awaitEvents(2)
        #expect(test.events[1].error == "" && test.events[1].info["cause"] == nil)
        #expect(test.events[1].integer("code") == 1000)
    }

    @Test(arguments: [false, true]) func thePeerCloses(scriptHasClosed: Bool) throws {
        let (test, peer) = try opened()
        if scriptHasClosed { test.close() }
        peer.close()
        try expect(test, Self.peerClosed)
        #expect(test.events[1].info["remote"] == .boolean(!scriptHasClosed))
    }

    @Test func thePeerResets() throws {
        let test = try TestSession()
        test.connect()
        do {
            let peer = try test.open()
            // Without a linger time the kernel sends a RST.
            var none = linger(l_onoff: 1, l_linger: 0)
            setsockopt(peer.descriptor, SOL_SOCKET, SO_LINGER, &none, socklen_t(MemoryLayout<linger>.size))
        }
        try expect(test, "the connection broke: Connection reset by peer")
    }

    @Test func aViolationIsTheCause() throws {
        let (test, peer) = try opened()
        peer.send([0x83, 0])
        try expect(test, "a frame has the reserved opcode 3 (RFC 6455 5.2)", after: "OPEN ERROR")
        #expect(test.events[1].error.hasSuffix(test.events[2].error))
    }

    @Test func soIsALimit() throws {
        let (test, peer) = try opened { $0.maxMessageSize = 4 }
        peer.send([0x81, 5])
        try test.awaitEvents(3)
        try expect(test, test.events[2].error, after: "OPEN ERROR")
        #expect(test.events[2].error.contains("maxmessagesize"))
        #expect(test.events[1].error.hasSuffix(test.events[2].error))
    }

    @Test func aViolationThatOurCloseCannotFollowIsTheCause() throws {
        let (test, peer) = try opened()
        // The script has not delivered the message, and the peer is gone when it has had its time.
        peer.send([0x81, 0, 0x83, 0])
        try test.loop.run(until: { test.queue.count > 0 })
        test.loop.runOnce()
        peer.close()
        test.loop.pass(1)
        try test.loop.run(until: { test.names.contains("CLOSE") })
        let event = try #require(test.events.last)
        #expect(event.error == "a frame has the reserved opcode 3 (RFC 6455 5.2)")
    }

    @Test func aMessageThatLuaHasNoMemoryForIsTheCause() throws {
        let (test, peer) = try opened()
        test.perform { $0.refuse(5, connection: 1, &$1) }
        #expect(try peer.receiveClose(test.loop) == 1009)
        try expect(test, "Lua has no memory for a message of 5 bytes")
    }

    @Test func theEndOfTheLuaStateIsTheCause() throws {
        let (test, peer) = try opened()
        test.perform { $0.drop(&$1) }
        try peer.receiveEnd(test.loop)
        try expect(test, "the Lua state has ended")
    }

    @Test func theEndOfTheEngineIsTheCause() throws {
        let (test, peer) = try opened()
        defer { peer.close() }
        test.queue.endWebsockets("the engine can't go on")
        try expect(test, "the engine can't go on", after: "OPEN ERROR")
    }

    /// With TLS. `end` is called with the server's SSL and socket.
    private func overTLS(_ end: (OpaquePointer, Peer) -> Void) throws -> TestSession {
        let identity = try TestCertificate()
        let listener = try Listener()
        let test = try TestSession("wss://127.0.0.1:\(listener.port)/") { $0.tls.ca = try! identity.pem() }
        test.connect()
        let peer = try listener.accept(test.loop)
        let tls = try TLSPeer(peer, identity)
        try tls.acceptHandshake(test.loop)
        try test.awaitEvents(1)
        end(tls.ssl, peer)
        return test
    }

    @Test func theEndOfTLSWithoutCloseNotifyIsNamed() throws {
        let cut = try overTLS { _, peer in shutdown(peer.descriptor, Int32(SHUT_WR)) }
        try expect(cut, Self.peerClosed + "; TLS ended without close_notify")
        let complete = try overTLS { ssl, peer in
            SSL_shutdown(ssl)
            shutdown(peer.descriptor, Int32(SHUT_WR))
        }
        try expect(complete, Self.peerClosed)
    }

    @Test func aFailureOfTLSIsTheCause() throws {
        let test = try overTLS { _, peer in peer.send("no record") }
        try test.awaitEvents(3)
        let cause = test.events[2].error
        #expect(cause.hasPrefix("the connection broke: TLS failed: "))
        try expect(test, cause, after: "OPEN ERROR")
    }
}
