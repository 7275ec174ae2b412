import Testing

@testable import WebSocketProtocol

@Suite struct IPAddressTests {
    @Test(
        arguments: [
            ("127.0.0.1", [127, 0, 0, 1]), ("255.255.255.255", [255, 255, 255, 255]),
            ("::", [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            ("2001:db8::a", [0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0A]),
            ("2001:0DB8:0:0::000A", [0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0A]),
            ("::ffff:1.2.3.4", [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 1, 2, 3, 4]),
        ] as [(String, [UInt8])])
    func address(text: String, bytes: [UInt8]) {
        #expect(IPAddress(text)?.bytes == bytes)
        #expect(IPAddress(text)?.isIPv6 == (bytes.count == 16))
    }

    @Test(arguments: ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "::ffff:7fff:ffff"])
    func loopback(text: String) { #expect(IPAddress(text)?.isLoopback == true) }

    @Test(arguments: [
        "128.0.0.1", "0.0.0.0", "::", "::2", "1::1", "::127.0.0.1", "::ffff:128.0.0.1", "0:0:0:0:1:ffff:7f00:1",
    ])
    func noLoopback(text: String) { #expect(IPAddress(text)?.isLoopback == false) }

    @Test(arguments: [
        "", "localhost", "1.2.3", "127.1", "1.2.3.256", "0x7f.0.0.1", "1.2.3.4 ", "[::1]", "::g", "1::2::3",
        "fe80::1%lo",
        "127.0.0.1\0", "127.0.0.1\0.example", "::1\0",
    ])
    func noAddress(text: String) { #expect(IPAddress(text) == nil) }
}
