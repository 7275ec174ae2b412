import CLinux
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

@Suite struct ProxyExchangeTests {
    /// An exchange over a socket, and its proxy.
    private final class Pair: LoopClient {
        let loop = try! TestLoop()
        let peer: Peer
        let exchange: ProxyExchange
        private(set) var outcome: ProxyExchange.Progress?

        init(_ proxy: String) throws {
            let listener = try Listener()
            let transport = try Transport(connecting: listener.address, slot: 0, &loop.context.poller)
            exchange = ProxyExchange(
                transport, listener.address, try Tunnel(try Proxy(proxy), to: "name.test", port: 80, userAgent: "test"))
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

        /// The proxy sends an answer byte by byte: before the last there is no outcome.
        func drip(_ bytes: [UInt8]) throws {
            for byte in bytes {
                #expect(outcome == nil)
                peer.send([byte])
                loop.runOnce()
            }
        }
    }

    @Test func anAnswerMayComeByteByByte() throws {
        let http = try Pair("http://127.0.0.1:1")
        _ = try http.peer.receiveRequest(http.loop)
        try http.drip(Array("HTTP/1.1 200 Done\r\n\r\n".utf8))
        try http.loop.run(until: { http.outcome != nil })
        guard case .established? = http.outcome else {
            Issue.record("\(String(describing: http.outcome))")
            return
        }
        let socks = try Pair("socks5h://user:password@127.0.0.1:1")
        #expect(try socks.peer.receive(4, socks.loop) == [5, 2, 0, 2])
        try socks.drip([5, 2])
        #expect(try socks.peer.receive(15, socks.loop) == [1, 4] + Array("user".utf8) + [8] + Array("password".utf8))
        try socks.drip([1, 0])
        #expect(try socks.peer.receive(16, socks.loop) == [5, 1, 0, 3, 9] + Array("name.test".utf8) + [0, 80])
        try socks.drip([5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
        try socks.loop.run(until: { socks.outcome != nil })
        guard case .established? = socks.outcome else {
            Issue.record("\(String(describing: socks.outcome))")
            return
        }
    }

    @Test func aProxyThatSendsMoreThanItsAnswerIsRefused() throws {
        // The server speaks first only if there is another protocol behind the proxy.
        let pair = try Pair("http://127.0.0.1:1")
        _ = try pair.peer.receiveRequest(pair.loop)
        pair.peer.send("HTTP/1.1 200 Done\r\n\r\nmore")
        try pair.loop.run(until: { pair.outcome != nil })
        guard case .refused? = pair.outcome else {
            Issue.record("\(String(describing: pair.outcome))")
            return
        }
    }
}
