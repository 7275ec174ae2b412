import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

@Suite struct ListenAddressTests {
    @Test(arguments: [
        ("127.0.0.1:9000", ListenAddress.Place.address(IPAddress("127.0.0.1")!, zone: nil), 9000),
        ("[::1]:0", .address(IPAddress("::1")!, zone: nil), 0),
        ("[fe80::1%eth0]:65535", .address(IPAddress("fe80::1")!, zone: "eth0"), 65535),
        (":80", .everywhere, 80), ("*:80", .everywhere, 80), ("localhost:1", .localhost, 1),
        ("LocalHost:1", .localhost, 1), ("unix:/a.sock", .unixSocket(path: "/a.sock"), 0),
        ("unix:/a:80", .unixSocket(path: "/a:80"), 0), ("0.0.0.0:080", .address(IPAddress("0.0.0.0")!, zone: nil), 80),
    ])
    func itHasAPlaceAndAPort(_ text: String, _ place: ListenAddress.Place, _ port: UInt16) throws {
        let address = try ListenAddress(text)
        #expect(address.place == place && address.port == port && address.description == text)
    }

    @Test(arguments: [
        "", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:+1", "127.0.0.1: 1", "127.0.0.1:1x", "::1",
        "[::1]",
        "[127.0.0.1]:80", "::1:80", "[::1:80", "example.com:80", "127.1:80", "unix:", "unix:a", "127.0.0.1:80\0",
        "unix:/a\0b", "unix:/" + String(repeating: "a", count: 107), "[%eth0]:1", "[]:1",
    ])
    func anotherTextIsRefused(_ text: String) {
        #expect(throws: Options.Failure.self) { try ListenAddress(text) }
    }

    @Test func theErrorQuotesTheText() {
        let failure = #expect(throws: Options.Failure.self) { try ListenAddress("a\nb:x") }
        #expect(failure?.reason.contains("no port from 0 to 65535") == true)
        #expect(failure?.reason.contains("\n") == false)
    }
}
