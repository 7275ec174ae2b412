import Testing
import WebSocketProtocol

@testable import WebSocketEngine

@Suite struct OptionsTests {
    private func reason(_ body: (inout Options) throws(Options.Failure) -> Void) -> String? {
        var options = Options()
        do throws(Options.Failure) { try body(&options) } catch { return error.reason }
        return nil
    }

    @Test func anOptionIsSetByItsName() throws {
        var options = Options()
        try options.set("maxqueued", .number(5))
        try options.set("reconnect", .boolean(true))
        try options.set("protocols", .string("a"))
        try options.set("protocols", .string("b"))
        try options.set("tls.servername", .string("example.com"))
        try options.set("deflate", .boolean(true))
        try options.set("deflate.clientwindow", .number(9))
        try options.set("debug", .boolean(true))
        #expect(options.maxQueued == 5 && options.reconnect == nil && options.protocols == ["a", "b"])
        #expect(options.tls.serverName == "example.com" && options.deflate?.parameters.client.windowBits == 9)
        #expect(options.debug)
    }

    @Test func numbersAndBooleansOfReconnect() throws {
        var options = Options()
        for (value, attempts) in [(Options.Value.boolean(false), 0), (.number(3), 3), (.number(0x1p60), 1 << 53)] {
            try options.set("reconnect", value)
            #expect(options.reconnect == attempts)
        }
        try options.set("reconnect", .boolean(true))
        #expect(options.reconnect == nil)
    }

    /// A name that C's table has and Swift does not, or with another type, is an error, never a trap.
    @Test(arguments: [("nonsense", Options.Value.boolean(true)), ("url", .number(5)), ("maxqueued", .string("5"))])
    func anOptionThatIsNotKnownHereIsRefused(_ name: String, _ value: Options.Value) {
        #expect(reason { (options) throws(Options.Failure) in try options.set(name, value) } == "is unknown")
    }

    @Test(arguments: [
        ("proxy", Options.Value.boolean(true), "must be a URL or false, not true"),
        ("reconnect", .number(-1), "must be a whole number, 0 or more"),
        ("pinginterval", .number(.nan), "must be a number of seconds, 0 or more"),
        ("deflate.level", .number(10), "must be a whole number from 0 to 9"),
        ("tls.ca", .string(""), "must not be empty or have a NUL in it"),
        ("tls.ciphers", .string("a\0b"), "must not be empty or have a NUL in it"),
    ])
    func aWrongValueIsRefused(_ name: String, _ value: Options.Value, _ words: String) {
        let reason = reason { (options) throws(Options.Failure) in
            options.deflate = Options.Deflate()
            try options.set(name, value)
        }
        #expect(reason == words)
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
