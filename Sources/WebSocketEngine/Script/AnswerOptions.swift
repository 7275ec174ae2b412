// The table that the script's function onrequest has returned: a response, or how to accept. A value, made on Lua's thread.

public import WebSocketProtocol

public struct AnswerOptions: Sendable {
    private var status: Int?
    private var body: [UInt8]?
    private var subprotocol: String?
    private var headers = HeaderFields()

    public init() {}

    /// Sets one field, as `Options.set`.
    public mutating func set(_ path: String, _ value: Options.Value) throws(Options.Failure) {
        switch (path, value) {
        case ("status", .number(let value)): status = try Options.integer(value, in: 200...599)
        case ("protocol", .string(let name)): subprotocol = name
        case ("headers", .list): headers = HeaderFields()
        default: throw Options.Failure("is unknown")
        }
    }

    /// A body may be any bytes.
    public mutating func setBody(_ bytes: UnsafeRawBufferPointer) { body = Array(bytes) }

    public mutating func addHeader(_ name: String, _ value: String) { headers.append(name, value) }

    /// A status or a body makes it a response; 200 is the default status.
    public func decision() throws(AnswerFailure) -> ServerHandshake.Decision {
        guard status != nil || body != nil else { return .accept(subprotocol: subprotocol, headers: headers) }
        guard subprotocol == nil else { throw AnswerFailure("it has a status or a body, and a protocol") }
        return .respond(try HTTPResponse(status: status ?? 200, headers: headers, body: body ?? []))
    }
}
