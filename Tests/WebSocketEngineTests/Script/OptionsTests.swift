import Testing

@testable import WebSocketEngine

@Suite struct OptionsTests {
    private func reason(_ body: (inout Options) throws(Options.Failure) -> Void) -> String? {
        var options = Options()
        do throws(Options.Failure) { try body(&options) } catch { return error.reason }
        return nil
    }

    @Test(arguments: [
        "Connection", "upgrade", "Sec-WebSocket-Key", "sec-websocket-version", "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions", "Content-Length", "Transfer-Encoding",
    ])
    func fieldsOfTheHandshakeAreRefused(_ name: String) {
        let reason = reason { (options) throws(Options.Failure) in try options.addHeader(name, "x") }
        #expect(reason == "must not set '\(name)': it belongs to the handshake")
    }

    /// RFC 9112 section 3.2.
    @Test func hostIsGivenOnce() {
        let reason = reason { (options) throws(Options.Failure) in
            try options.addHeader("Host", "a")
            try options.addHeader("X-A", "a")
            try options.addHeader("X-A", "a")
            try options.addHeader("hOST", "a")
        }
        #expect(reason == "must not set 'hOST' twice (RFC 9112 3.2)")
    }

    @Test(arguments: [("X-A\r\nB", "x"), ("", "x"), ("a b", "x"), ("X", "a\r\nB: c"), ("X", "a\u{0}b")])
    func controlCharactersNeverReachTheRequest(_ name: String, _ value: String) {
        #expect(reason { (options) throws(Options.Failure) in try options.addHeader(name, value) } != nil)
    }

    @Test(arguments: ["", "a b", "a,b", "a\r\n", "é"]) func subprotocolsAreTokens(_ name: String) {
        #expect(reason { (options) throws(Options.Failure) in try options.addProtocol(name) } != nil)
    }

    @Test func subprotocolsAreNamedOnce() {
        let reason = reason { (options) throws(Options.Failure) in
            try options.addProtocol("chat")
            try options.addProtocol("chat")
        }
        #expect(reason == "names 'chat' twice")
    }

    @Test(arguments: [-1, 0.5, .nan, -.infinity]) func sizesAreWholeNumbers(_ value: Double) {
        #expect(throws: Options.Failure.self) { try Options.size(value) }
    }

    /// 0x1p63 is what Lua's math.maxinteger becomes.
    @Test(arguments: [.infinity, 0x1p53, 0x1p63, 1e300]) func whatNoSizeReachesIsNoLimit(_ value: Double) throws {
        #expect(try Options.size(value) == 1 << 53)
    }

    @Test func sizes() throws {
        #expect(try Options.size(0) == 0)
        #expect(try Options.size(0x1p53 - 1) == (1 << 53) - 1)
    }

    @Test(arguments: [-0.1, .nan]) func timesAreNotNegative(_ value: Double) {
        #expect(throws: Options.Failure.self) { try Options.seconds(value) }
    }
}
