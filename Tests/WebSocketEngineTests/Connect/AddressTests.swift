import CLinux
import Glibc
import Testing

@testable import WebSocketEngine

@Suite struct AddressTests {
    private func address(_ host: String) throws -> Address {
        try #require(Resolver.literalAddresses(HostAndPort(host: host, port: 80)).first)
    }

    @Test(arguments: [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80"), ("10.1.2.3", "10.1.2.3:80")])
    func literalsAreKnown(_ host: String, _ description: String) throws {
        #expect(try address(host).description == description)
        #expect(try address(host).host == host)
    }

    @Test(arguments: ["localhost", "shop.localhost"]) func localhostIsThisMachineInBothFamilies(_ host: String) throws {
        let addresses = Resolver.literalAddresses(HostAndPort(host: host, port: 80))
        #expect(addresses.map(\.description) == ["127.0.0.1:80", "[::1]:80"])
    }

    @Test func namesAreNotKnown() {
        #expect(Resolver.literalAddresses(HostAndPort(host: "example.com", port: 80)).isEmpty)
    }

    @Test func theAddressOfAUnixSocketIsItsPath() throws {
        let address = try #require(Address(path: "/tmp/a.sock"))
        #expect(address.family == AF_UNIX)
        #expect(address.description == "/tmp/a.sock")
        #expect(Address(path: "/" + String(repeating: "x", count: 106))?.description.utf8.count == 107)
        #expect(Address(path: "/" + String(repeating: "x", count: 107)) == nil)
    }

    @Test func familiesTakeTurns() throws {
        let four = try ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(address)
        let six = try ["::1"].map(address)
        let order = Resolver.interleaved(six + four).map(\.description)
        #expect(order == ["[::1]:80", "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"])
        #expect(
            Resolver.interleaved(four + six).map(\.description) == [
                "10.0.0.1:80", "[::1]:80", "10.0.0.2:80", "10.0.0.3:80",
            ])
        #expect(Resolver.interleaved([]).isEmpty)
    }
}
