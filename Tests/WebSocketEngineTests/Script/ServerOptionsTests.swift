import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

@Suite struct ServerOptionsTests {
    private func reason(_ body: (inout ServerOptions) throws(Options.Failure) -> Void) -> String? {
        var options = ServerOptions()
        do throws(Options.Failure) { try body(&options) } catch { return error.reason }
        return nil
    }

    @Test func theDefaultsAreThoseOfTheDocumentation() {
        let options = ServerOptions()
        let connection = options.connection
        #expect(
            options.maxConnections == 10000 && options.backlog == 1024 && !options.reusePort && !options.asksRequests)
        #expect(connection.connectTimeout == 10 && connection.closeTimeout == 5)
        #expect(connection.pingInterval == 30 && connection.pongTimeout == 20 && connection.reconnect == 0)
        #expect(
            [connection.maxMessageSize, connection.maxBuffered, connection.maxQueued] == [1 << 20, 1 << 20, 1 << 20])
        #expect(options.origins == .sameHost && !options.isSecure && options.address == nil)
    }

    @Test func anOptionIsSetByItsName() throws {
        var options = ServerOptions()
        try options.set("address", .string("127.0.0.1:1"))
        try options.set("maxconnections", .number(5))
        try options.set("backlog", .number(1))
        try options.set("reuseport", .boolean(true))
        try options.set("onrequest", .boolean(true))
        try options.set("tls", .boolean(true))
        try options.set("maxqueued", .number(7))
        #expect(options.address?.port == 1 && options.maxConnections == 5 && options.backlog == 1)
        #expect(options.reusePort && options.asksRequests && options.isSecure && options.connection.maxQueued == 7)
    }

    @Test func origins() throws {
        var options = ServerOptions()
        try options.set("origins", .string("https://a.example"))
        #expect(options.origins == .list(["https://a.example"]))
        try options.set("origins", .list)
        #expect(options.origins == .list([]))
        try options.set("origins", .string("https://b.example"))
        try options.set("origins", .string("null"))
        #expect(options.origins == .list(["https://b.example", "null"]))
        try options.set("origins", .string("*"))
        #expect(options.origins == .any)
    }

    @Test(arguments: [
        ("origins", Options.Value.string("example.com")), ("origins", .string("https://a/b")), ("backlog", .number(0)),
        ("backlog", .number(65536)), ("maxconnections", .number(-1)), ("maxconnections", .number(.nan)),
        ("address", .string("a")), ("reuseport", .number(1)), ("nonsense", .boolean(true)), ("maxqueued", .string("5")),
    ])
    func aWrongValueIsRefused(_ name: String, _ value: Options.Value) {
        #expect(reason { (options) throws(Options.Failure) in try options.set(name, value) } != nil)
    }

    @Test(arguments: ["Upgrade", "connection", "Sec-WebSocket-Accept", "Content-Length", "a b", ""])
    func fieldsOfTheResponseItselfAreRefused(_ name: String) {
        #expect(reason { (options) throws(Options.Failure) in try options.addHeader(name, "x") } != nil)
    }

    @Test func theDecisionOfAnAnswer() throws {
        var answer = AnswerOptions()
        answer.addHeader("X-A", "1")
        guard case .accept(nil, let headers) = try answer.decision() else {
            Issue.record("no acceptance")
            return
        }
        #expect(headers["X-A"] == "1")
        try answer.set("protocol", .string("chat"))
        guard case .accept("chat", _) = try answer.decision() else {
            Issue.record("another subprotocol")
            return
        }
        try answer.set("status", .number(404))
        #expect(throws: AnswerFailure.self) { try answer.decision() }
        #expect(throws: Options.Failure.self) { try answer.set("status", .number(101)) }
        #expect(throws: Options.Failure.self) { try answer.set("foo", .boolean(true)) }
    }

    @Test func aBodyAloneIsAResponseWith200() throws {
        var answer = AnswerOptions()
        Array("text".utf8).withUnsafeBytes { answer.setBody($0) }
        guard case .respond(let response) = try answer.decision() else {
            Issue.record("no response")
            return
        }
        #expect(response.head.startLine.hasPrefix("HTTP/1.1 200 "))
    }
}
