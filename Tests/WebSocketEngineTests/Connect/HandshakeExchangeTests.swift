import CLinux
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

@Suite struct HandshakeExchangeTests {
    /// An exchange over a socket, and its server.
    private final class Pair: LoopClient {
        let loop = try! TestLoop()
        let peer: Peer
        let exchange: HandshakeExchange
        private(set) var outcome: HandshakeExchange.Progress?

        init(headers: HeaderFields = HeaderFields()) throws {
            let listener = try Listener()
            let transport = try Transport(connecting: listener.address, slot: 0, &loop.context.poller)
            let handshake = ClientHandshake(
                url: try WebSocketURL("ws://127.0.0.1/"), headers: headers, subprotocols: [], deflate: nil,
                nonce: Array(0..<16), userAgent: "test")
            exchange = HandshakeExchange(transport, listener.address, handshake)
            peer = try listener.accept(loop)
            loop.client = self
            advance()
        }

        private func advance() {
            guard outcome == nil else { return }
            let progress = exchange.advance(&loop.context)
            if case .pending = progress { return }
            outcome = progress
        }

        func ready(_ readiness: Poller.Readiness, on loop: TestLoop) {
            if exchange.transport.shouldHandle(readiness) { advance() }
        }

        func refusal() throws -> HandshakeExchange.Refusal {
            try loop.run(until: { outcome != nil })
            guard case .refused(let refusal)? = outcome else { throw SystemError("\(String(describing: outcome))", 0) }
            return refusal
        }
    }

    @Test func aResponseMayComeByteByByteWithFramesBehindIt() throws {
        let pair = try Pair()
        let response = Array(Peer.response(to: try pair.peer.receiveRequest(pair.loop)).utf8)
        for byte in response.dropLast() {
            pair.peer.send([byte])
            pair.loop.runOnce()
            #expect(pair.outcome == nil)
        }
        pair.peer.send([response.last!, 0x81, 0, 0x82])
        try pair.loop.run(until: { pair.outcome != nil })
        guard case .completed(_, let rest)? = pair.outcome else {
            Issue.record("\(String(describing: pair.outcome))")
            return
        }
        #expect(rest == [0x81, 0, 0x82])
    }

    @Test func aRequestThatTheSocketDoesNotTakeAtOnceArrivesWhole() throws {
        var headers = HeaderFields()
        headers.append("X-Large", String(repeating: "x", count: 8 << 20))
        let pair = try Pair(headers: headers)
        let request = try pair.peer.receiveRequest(pair.loop)
        #expect(request.utf8.count > 8 << 20 && request.hasSuffix("x\r\n\r\n"))
    }

    @Test func aServerThatRefusesBeforeItHasTheRequestIsHeard() throws {
        var headers = HeaderFields()
        headers.append("X-Large", String(repeating: "x", count: 8 << 20))
        let pair = try Pair(headers: headers)
        // It reads no more, and its socket says so to whoever writes.
        pair.peer.send("HTTP/1.1 431 Too large\r\nContent-Length: 3\r\n\r\nwhy")
        #expect(try pair.refusal().head.status == 431)
        #expect(try pair.refusal().body == "why")
    }

    @Test func theBodyEndsWithTheConnection() throws {
        let pair = try Pair()
        _ = try pair.peer.receiveRequest(pair.loop)
        pair.peer.send("HTTP/1.1 500 No\r\n\r\nbecause")
        pair.peer.close()
        let refusal = try pair.refusal()
        #expect(refusal.body == "because" && refusal.head.status == 500)
        #expect(refusal.reason == "it answered 500 No instead of 101 Switching Protocols")
    }

    @Test func noMoreThanAKibibyteOfTheBodyIsKept() throws {
        let pair = try Pair()
        _ = try pair.peer.receiveRequest(pair.loop)
        pair.peer.send("HTTP/1.1 500 No\r\n\r\n" + String(repeating: "x", count: 5000))
        #expect(try pair.refusal().body == String(repeating: "x", count: 1024))
    }

    @Test func aHeadWithoutAnEndIsNoResponse() throws {
        let pair = try Pair()
        _ = try pair.peer.receiveRequest(pair.loop)
        pair.peer.send(
            "HTTP/1.1 101 Switching\r\n"
                + String(repeating: "X: \(String(repeating: "y", count: 1000))\r\n", count: 200))
        try pair.loop.run(until: { pair.outcome != nil })
        guard case .invalidResponse? = pair.outcome else {
            Issue.record("\(String(describing: pair.outcome))")
            return
        }
    }
}
