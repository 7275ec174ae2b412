import CLinux
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

@Suite struct ProxyExchangeTests {
    private func start(_ proxy: String) throws -> TestExchange<ProxyExchange> {
        try TestExchange {
            ProxyExchange($0, $1, try Tunnel(try Proxy(proxy), to: "name.test", port: 80, userAgent: "test"))
        }
    }

    /// The proxy sends an answer byte by byte: before the last there is no outcome.
    private func drip(_ bytes: [UInt8], _ test: TestExchange<ProxyExchange>) throws {
        for byte in bytes {
            #expect(test.outcome == nil)
            test.peer.send([byte])
            test.loop.runOnce()
        }
    }

    private func isEstablished(_ test: TestExchange<ProxyExchange>) throws -> Bool {
        if case .established = try test.awaitOutcome() { true } else { false }
    }

    @Test func anAnswerMayComeByteByByte() throws {
        let http = try start("http://127.0.0.1:1")
        _ = try http.peer.receiveRequest(http.loop)
        try drip(Array("HTTP/1.1 200 Done\r\n\r\n".utf8), http)
        #expect(try isEstablished(http))
        let socks = try start("socks5h://user:password@127.0.0.1:1")
        #expect(try socks.peer.receive(4, socks.loop) == [5, 2, 0, 2])
        try drip([5, 2], socks)
        #expect(try socks.peer.receive(15, socks.loop) == [1, 4] + Array("user".utf8) + [8] + Array("password".utf8))
        try drip([1, 0], socks)
        #expect(try socks.peer.receive(16, socks.loop) == [5, 1, 0, 3, 9] + Array("name.test".utf8) + [0, 80])
        try drip([5, 0, 0, 1, 0, 0, 0, 0, 0, 0], socks)
        #expect(try isEstablished(socks))
    }

    @Test func aProxyThatSendsMoreThanItsAnswerIsRefused() throws {
        // The server speaks first only if there is another protocol behind the proxy.
        let test = try start("http://127.0.0.1:1")
        _ = try test.peer.receiveRequest(test.loop)
        test.peer.send("HTTP/1.1 200 Done\r\n\r\nmore")
        let outcome = try test.awaitOutcome()
        guard case .refused = outcome else { throw SystemError("\(outcome)", 0) }
    }
}
