// Why an opening handshake failed (RFC 6455 section 4.1): thrown by the HTTP parser and ClientHandshake.

public struct HandshakeFailure: Error, Equatable, Sendable {
    /// Text that continues "the server at URL refused: "; "it" is the server.
    public let reason: String
    /// The status of the response, unless it is 101.
    public let status: Int?

    init(reason: String, status: Int? = nil) {
        self.reason = reason
        self.status = status
    }

    /// A response that breaks the rules.
    static func invalidResponse(_ reason: String) -> HandshakeFailure { HandshakeFailure(reason: reason) }
}
