import CLinux
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

extension ConnectAttemptTests {
    /// Lets the 30 s of `connecttimeout` pass, all but a moment first.
    private func timeOut(_ test: TestAttempt, sourceLocation: SourceLocation = #_sourceLocation) throws -> String {
        test.loop.pass(29.9)
        test.loop.runOnce()
        #expect(!test.isOver, sourceLocation: sourceLocation)
        test.loop.pass(0.1)
        let failure = try #require(test.failure, sourceLocation: sourceLocation)
        #expect(failure.kind == "timeout" && !failure.isPermanent, sourceLocation: sourceLocation)
        let suffix = " within the connecttimeout of 30.0 s"
        #expect(failure.reason.hasSuffix(suffix), sourceLocation: sourceLocation)
        return String(failure.reason.dropLast(suffix.count))
    }

    @Test func aLookupHasNoMoreTimeThanTheAttempt() throws {
        let dns = SilentDNS()
        defer { dns.answer() }
        for (url, proxy, words) in [
            ("ws://silent.test/", nil, "the host silent.test could not be resolved"),
            ("ws://nobody.test/", "http://silent.test:1", "the host silent.test of the proxy could not be resolved"),
        ] as [(String, String?, String)] {
            let test = try TestAttempt(url, resolver: dns.resolver) { if let proxy { try $0.setProxy(proxy) } }
            #expect(try timeOut(test) == words)
        }
    }

    @Test func anAttemptThatWaitsForAThreadHasNoMoreTime() throws {
        let dns = SilentDNS()
        defer { dns.answer() }
        let queue = try CommandQueue(try LoopOwnership())
        let test = try TestAttempt("ws://waits.test/", resolver: try dns.busyResolver())
        #expect(try timeOut(test) == "the host waits.test could not be resolved")
        // And it is taken out: nobody waits for it, and nobody looks it up.
        let again = test.loop.context.resolver.resolve(HostAndPort(host: "waits.test", port: 80), 1 << 24, queue)
        #expect(again == nil)
        #expect(test.loop.context.resolver.finished(HostAndPort(host: "waits.test", port: 80), queue) == [1 << 24])
    }

    @Test func filesThatAreNotReadAreAFailure() throws {
        // The answer is not taken.
        let test = try TestAttempt("wss://127.0.0.1:1/") { $0.tls.ca = "/nonexistent/ca.pem" }
        test.loop.pass(30)
        #expect(test.failure?.reason.hasPrefix("the files of the option tls could not be read within") == true)
    }

    @Test func aRaceWithoutAWinnerEndsInTime() throws {
        let silent = try Listener(backlog: 0)
        silent.fill()
        let addresses = ["two.test": [silent.address, silent.address]]
        let direct = try TestAttempt("ws://two.test/", addresses: addresses)
        try direct.loop.run(until: { direct.attempt.deadline < direct.loop.context.now + Nanoseconds(seconds: 1) })
        let name = silent.address.description
        #expect(try timeOut(direct) == "no address answered (\(name): no answer; \(name): no answer)")
        let proxied = try TestAttempt("ws://nobody.test/", addresses: addresses) {
            try $0.setProxy("http://two.test:1")
            $0.connectTimeout = 0.1
        }
        try proxied.loop.run(until: { !proxied.loop.context.commandQueue.hasCommands && proxied.isRacing })
        proxied.loop.pass(0.1)
        #expect(
            proxied.failure?.reason.hasPrefix(
                "no address of the proxy http://two.test:1 answered (\(name): no answer; \(name): not tried) within")
                == true)
    }

    @Test func aSilentProxyIsAFailure() throws {
        let proxy = try Listener()
        let test = try TestAttempt("ws://nobody.test/") { try $0.setProxy("http://127.0.0.1:\(proxy.port)") }
        let peer = try proxy.accept(test.loop)
        _ = try peer.receiveRequest(test.loop)
        #expect(try timeOut(test) == "the proxy http://127.0.0.1:\(proxy.port) did not answer")
        try peer.receiveEnd(test.loop)
    }

    @Test func aSilentServerIsAFailure() throws {
        let server = try Listener()
        let test = try TestAttempt("ws://127.0.0.1:\(server.port)/")
        let peer = try server.accept(test.loop)
        _ = try peer.receiveRequest(test.loop)
        #expect(try timeOut(test) == "the server did not answer the handshake")
    }

    @Test func aServerThatDoesNotFinishTLSIsAFailure() throws {
        let server = try Listener()
        let test = try TestAttempt("wss://127.0.0.1:\(server.port)/") { $0.tls.verifies = false }
        let peer = try server.accept(test.loop)
        // ClientHello.
        #expect(try peer.receive(1, test.loop) == [0x16])
        #expect(try timeOut(test) == "the server did not finish the TLS handshake")
    }

    @Test func theLimitEndsTheWaitForARefusalsBodyAsARefusal() throws {
        let server = try Listener()
        let test = try TestAttempt("ws://127.0.0.1:\(server.port)/") { $0.connectTimeout = 0.5 }
        let peer = try server.accept(test.loop)
        _ = try peer.receiveRequest(test.loop)
        peer.send("HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\nhalf")
        try test.loop.run(until: {
            if case .openingHandshake(let exchange) = test.attempt.stage { exchange.refusal != nil } else { false }
        })
        test.loop.pass(0.5)
        #expect(test.failure?.kind == "handshake" && test.failure?.body == "half")
    }
}
