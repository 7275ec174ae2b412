import CLinux
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

@Suite struct LocalAddressTests {
    private static func option(_ text: String) throws -> Options {
        var options = Options()
        try options.set("localaddress", .string(text))
        return options
    }

    @Test(arguments: [
        ("127.0.0.1", "127.0.0.1:0"), ("::1", "[::1]:0"), ("2001:DB8::A", "[2001:db8::a]:0"), ("0.0.0.0", "0.0.0.0:0"),
        ("::", "[::]:0"), ("fe80::1%lo", "[fe80::1%lo]:0"), ("febf::1%1", "[febf::1%lo]:0"),
    ])
    func theSocketAddressIsTheOptions(_ text: String, _ description: String) throws {
        let local = try #require(try Self.option(text).localAddress)
        #expect(local.description == text)
        #expect(try local.socketAddress().description == description)
    }

    @Test(arguments: [
        ("", "must be an IPv4 or IPv6 address, not ''"),
        ("localhost", "must be an IPv4 or IPv6 address, not 'localhost'"),
        ("127.1", "must be an IPv4 or IPv6 address, not '127.1'"),
        ("[::1]", "must be an IPv4 or IPv6 address, not '[::1]'"),
        ("127.0.0.1:80", "must be an IPv4 or IPv6 address, not '127.0.0.1:80'"),
        ("lo", "must be an IPv4 or IPv6 address, not 'lo'"),
        ("127.0.0.1%lo", "has a zone that means nothing: '127.0.0.1%lo'"),
        ("::1%lo", "has a zone that means nothing: '::1%lo'"),
        ("fe80::1%", "has a zone that means nothing: 'fe80::1%'"),
        ("fe80::1", "needs a zone, as in fe80::1%eth0"),
    ])
    func aWrongAddressIsRefused(_ text: String, _ words: String) {
        #expect(throws: Options.Failure(words)) { try Self.option(text) }
    }

    @Test func aNULEndsNoZone() {
        #expect(throws: Options.Failure.self) { try Self.option("fe80::1%lo\0") }
    }

    @Test func aZoneThatThisMachineDoesNotHaveIsAnError() throws {
        let local = try #require(try Self.option("fe80::1%nowhere0").localAddress)
        #expect(throws: SystemError("if_nametoindex", ENODEV)) { try local.socketAddress() }
        let test = try TestAttempt("ws://[::1]:9/") { try $0.set("localaddress", .string("fe80::1%nowhere0")) }
        let failure = try test.awaitFailure()
        #expect(failure.kind == "connect" && !failure.isPermanent)
        #expect(failure.reason == "localaddress fe80::1%nowhere0: No such device")
    }

    @Test func theSocketIsBoundToIt() throws {
        let server = try Listener()
        let test = try TestAttempt("ws://127.0.0.1:\(server.port)/") {
            try $0.set("localaddress", .string("127.0.0.2"))
        }
        let peer = try server.accept(test.loop)
        #expect(peer.host == "127.0.0.2")
        try peer.acceptHandshake(test.loop)
        _ = try test.awaitConnection()
    }

    @Test func soIsTheSocketToAProxy() throws {
        let proxy = try Listener()
        let test = try TestAttempt("ws://nobody.test/") {
            try $0.setProxy("http://127.0.0.1:\(proxy.port)")
            try $0.set("localaddress", .string("127.0.0.2"))
        }
        #expect(try proxy.accept(test.loop).host == "127.0.0.2")
    }

    @Test func onlyAddressesOfItsFamilyAreTried() throws {
        let server = try Listener()
        let other = Resolver.literalAddresses(HostAndPort(host: "::1", port: server.port))
        let test = try TestAttempt("ws://both.test/", addresses: ["both.test": other + [server.address]]) {
            try $0.set("localaddress", .string("127.0.0.2"))
        }
        // The only address: there is no time at which another is tried.
        #expect(test.attempt.deadline == test.loop.context.now + Nanoseconds(seconds: 30))
        try server.accept(test.loop).acceptHandshake(test.loop)
        _ = try test.awaitConnection()
        #expect(test.info.text("address") == server.address.description)
    }

    @Test(arguments: ["127.0.0.2", "0.0.0.0"]) func aNameWithoutAnAddressOfItsFamilyFails(_ local: String) throws {
        let test = try TestAttempt("ws://[::1]:9/") { try $0.set("localaddress", .string(local)) }
        let failure = try test.awaitFailure()
        #expect(failure.kind == "connect" && !failure.isPermanent)
        #expect(failure.reason == "localaddress \(local) can't reach [::1]:9")
    }

    /// 192.0.2.0/24 is for documentation (RFC 5737): no machine has such an address.
    @Test func anAddressOfAnotherMachineFails() throws {
        for proxy in [nil, "http://127.0.0.1:9"] {
            let test = try TestAttempt("ws://127.0.0.1:9/") {
                if let proxy { try $0.setProxy(proxy) }
                try $0.set("localaddress", .string("192.0.2.77"))
            }
            let failure = try test.awaitFailure()
            #expect(failure.kind == "connect" && !failure.isPermanent)
            #expect(failure.reason == "localaddress 192.0.2.77: Cannot assign requested address")
        }
    }

    @Test func aUnixSocketHasNone() throws {
        let test = try TestAttempt("ws+unix:/nonexistent.sock:/") { try $0.set("localaddress", .string("127.0.0.2")) }
        #expect(try test.awaitFailure().reason == "/nonexistent.sock: No such file or directory")
    }
}
