import CLinux
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

@Suite struct ConnectAttemptTests {
    // MARK: - Addresses

    @Test func aRequestIsAnsweredAndTheConnectionOpens() throws {
        let server = try Listener()
        let test = try TestAttempt("ws://127.0.0.1:\(server.port)/path?q")
        let peer = try server.accept(test.loop)
        let request = try peer.acceptHandshake(test.loop)
        #expect(request.hasPrefix("GET /path?q HTTP/1.1\r\nHost: 127.0.0.1:\(server.port)\r\n"))
        _ = try test.awaitConnection()
        #expect(test.info.text("address") == "127.0.0.1:\(server.port)")
        #expect(test.info.text("url") == "ws://127.0.0.1:\(server.port)/path?q")
    }

    @Test func anUnknownNameFails() throws {
        let failure = try TestAttempt("ws://nobody.test/").awaitFailure()
        #expect(failure.kind == "dns" && !failure.isPermanent)
        #expect(failure.reason == "can't resolve the host nobody.test: unknown")
    }

    @Test func aNameWithoutAnAddressFails() throws {
        let failure = try TestAttempt("ws://empty.test/", addresses: ["empty.test": []]).awaitFailure()
        #expect(failure.kind == "connect" && failure.reason == "the name has no address")
    }

    @Test func anAnswerToAnEarlierQuestionIsIgnored() throws {
        let server = try Listener()
        let test = try TestAttempt("ws://127.0.0.1:\(server.port)/")
        let peer = try server.accept(test.loop)
        for token in 1...100 { test.lookupFinished(Poller.Token(token << 24), .failed("late"), on: test.loop) }
        test.tlsContextFinished(1 << 24, .failure(.outOfMemory), on: test.loop)
        #expect(!test.isOver)
        try peer.acceptHandshake(test.loop)
        _ = try test.awaitConnection()
    }

    // MARK: - The race

    @Test func theNextAddressIsTriedAtOnceWhenOneRefuses() throws {
        let server = try Listener()
        let closed = Resolver.literalAddresses(HostAndPort(host: "127.0.0.1", port: try Listener.closedPort()))
        let test = try TestAttempt("ws://two.test/", addresses: ["two.test": closed + [server.address]])
        let peer = try server.accept(test.loop)
        try peer.acceptHandshake(test.loop)
        _ = try test.awaitConnection()
        #expect(test.info.text("address") == server.address.description)
    }

    @Test func theNextAddressIsTriedAfterAQuarterOfASecond() throws {
        let silent = try Listener(backlog: 0)
        silent.fill()
        let server = try Listener()
        let test = try TestAttempt("ws://two.test/", addresses: ["two.test": [silent.address, server.address]])
        try test.loop.run(until: { test.attempt.deadline < test.loop.context.now + Nanoseconds(seconds: 1) })
        test.loop.pass(0.249)
        test.loop.runOnce()
        #expect(server.accept() == nil)
        test.loop.pass(0.001)
        let peer = try server.accept(test.loop)
        try peer.acceptHandshake(test.loop)
        _ = try test.awaitConnection()
        #expect(test.info.text("address") == server.address.description)
    }

    @Test func aRefusalStartsTheNextAttemptBeforeItsTime() throws {
        let silent = try Listener(backlog: 0)
        silent.fill()
        let closed = Resolver.literalAddresses(HostAndPort(host: "127.0.0.1", port: try Listener.closedPort()))
        let server = try Listener()
        let test = try TestAttempt(
            "ws://three.test/", addresses: ["three.test": [silent.address] + closed + [server.address]])
        try test.loop.run(until: { test.attempt.deadline < test.loop.context.now + Nanoseconds(seconds: 1) })
        test.loop.pass(0.25)
        try server.accept(test.loop).acceptHandshake(test.loop)
        _ = try test.awaitConnection()
    }

    @Test func everyAddressIsNamedWhenAllFail() throws {
        let ports = [try Listener.closedPort(), try Listener.closedPort()]
        let addresses = ports.map { Resolver.literalAddresses(HostAndPort(host: "127.0.0.1", port: $0))[0] }
        let failure = try TestAttempt("ws://two.test/", addresses: ["two.test": addresses]).awaitFailure()
        #expect(failure.kind == "connect" && !failure.isPermanent)
        let words = ports.map { "127.0.0.1:\($0): Connection refused" }.joined(separator: "; ")
        #expect(failure.reason == words)
    }

    // MARK: - Proxies

    @Test func aProxyConnectsToTheServer() throws {
        let proxy = try Listener()
        let test = try TestAttempt("ws://nobody.test:81/path") { try $0.setProxy("http://127.0.0.1:\(proxy.port)") }
        let peer = try proxy.accept(test.loop)
        let connect = try peer.receiveRequest(test.loop)
        #expect(connect.hasPrefix("CONNECT nobody.test:81 HTTP/1.1\r\n"))
        peer.send("HTTP/1.1 200 Done\r\n\r\n")
        let request = try peer.acceptHandshake(test.loop)
        #expect(request.hasPrefix("GET /path HTTP/1.1\r\nHost: nobody.test:81\r\n"))
        _ = try test.awaitConnection()
    }

    @Test(arguments: [(407, true), (502, false)])
    func aProxysRefusalHasItsStatus(_ status: Int, _ isPermanent: Bool) throws {
        let proxy = try Listener()
        let test = try TestAttempt("ws://nobody.test/") { try $0.setProxy("http://127.0.0.1:\(proxy.port)") }
        let peer = try proxy.accept(test.loop)
        _ = try peer.receiveRequest(test.loop)
        peer.send("HTTP/1.1 \(status) No\r\nContent-Length: 0\r\n\r\n")
        let failure = try test.awaitFailure()
        #expect(failure.kind == "proxy" && failure.isPermanent == isPermanent && failure.status == status)
        #expect(failure.reason.hasPrefix("the proxy http://127.0.0.1:\(proxy.port): "))
        #expect(failure.response?.status == status)
    }

    @Test func aSOCKSProxyGetsAnAddressOrTheName() throws {
        let server = Resolver.literalAddresses(HostAndPort(host: "10.1.2.3", port: 80))
        for (kind, target) in [
            ("socks5", [1, 10, 1, 2, 3] as [UInt8]), ("socks5h", [3, 9] + Array("name.test".utf8)),
        ] {
            let proxy = try Listener()
            let test = try TestAttempt("ws://name.test/", addresses: ["name.test": server]) {
                try $0.setProxy("\(kind)://127.0.0.1:\(proxy.port)")
            }
            let peer = try proxy.accept(test.loop)
            #expect(try peer.receive(3, test.loop) == [5, 1, 0])
            peer.send([5, 0])
            #expect(try peer.receive(3 + target.count + 2, test.loop) == [5, 1, 0] + target + [0, 80])
            peer.send([5, 5, 0, 1, 0, 0, 0, 0, 0, 0])
            let failure = try test.awaitFailure()
            #expect(failure.kind == "proxy" && failure.status == 5 && !failure.isPermanent)
        }
    }

    @Test func aProxyThatIsNotThereIsNamed() throws {
        let port = try Listener.closedPort()
        let refused = try TestAttempt("ws://nobody.test/") { try $0.setProxy("http://127.0.0.1:\(port)") }
            .awaitFailure()
        #expect(refused.kind == "proxy" && !refused.isPermanent)
        #expect(
            refused.reason
                == "the proxy http://127.0.0.1:\(port): can't connect to 127.0.0.1:\(port): Connection refused")
        let unknown = try TestAttempt("ws://nobody.test/") { try $0.setProxy("http://proxy.test:3128") }.awaitFailure()
        #expect(unknown.reason == "the proxy http://proxy.test:3128: its host can't be resolved: unknown")
        let proxy = try Listener()
        let test = try TestAttempt("ws://nobody.test/") { try $0.setProxy("http://127.0.0.1:\(proxy.port)") }
        let peer = try proxy.accept(test.loop)
        _ = try peer.receiveRequest(test.loop)
        peer.close()
        #expect(try test.awaitFailure().reason.hasSuffix(": it closed the connection"))
    }

    // MARK: - The opening handshake

    @Test func aServersRefusalHasItsBody() throws {
        for (status, isPermanent) in [(200, true), (401, true), (403, true), (404, true), (429, false), (500, false)] {
            let server = try Listener()
            let test = try TestAttempt("ws://127.0.0.1:\(server.port)/")
            let peer = try server.accept(test.loop)
            _ = try peer.receiveRequest(test.loop)
            peer.send("HTTP/1.1 \(status) No\r\nContent-Length: 5\r\n\r\nbe")
            test.loop.runOnce()
            #expect(!test.isOver)
            peer.send("cause")
            let failure = try test.awaitFailure()
            #expect(failure.kind == "handshake" && failure.isPermanent == isPermanent, "\(status)")
            #expect(failure.response?.status == status && failure.body == "becau")
        }
    }

    @Test func theBodyOfARefusalHasASecond() throws {
        let server = try Listener()
        let test = try TestAttempt("ws://127.0.0.1:\(server.port)/")
        let peer = try server.accept(test.loop)
        _ = try peer.receiveRequest(test.loop)
        peer.send("HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\nhalf")
        try test.loop.run(until: { test.attempt.deadline < test.loop.context.now + Nanoseconds(seconds: 2) })
        test.loop.pass(0.99)
        #expect(!test.isOver)
        test.loop.pass(0.01)
        let failure = try test.awaitFailure()
        #expect(failure.kind == "handshake" && failure.body == "half")
    }

    @Test func aResponseThatNoWebSocketServerGivesFailsForGood() throws {
        let server = try Listener()
        let test = try TestAttempt("ws://127.0.0.1:\(server.port)/")
        let peer = try server.accept(test.loop)
        _ = try peer.receiveRequest(test.loop)
        peer.send("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        let failure = try test.awaitFailure()
        #expect(failure.kind == "handshake" && failure.isPermanent && failure.response?.status == 101)
    }

    @Test func aConnectionThatEndsBeforeTheResponseMayBeTriedAgain() throws {
        let server = try Listener()
        let test = try TestAttempt("ws://127.0.0.1:\(server.port)/")
        let peer = try server.accept(test.loop)
        _ = try peer.receiveRequest(test.loop)
        peer.close()
        let failure = try test.awaitFailure()
        #expect(failure.kind == "handshake" && !failure.isPermanent)
        #expect(failure.reason == "the connection was closed before the handshake was answered")
    }
}
