// Why an opening handshake did not succeed (RFC 6455 section 4.1).

public struct HandshakeFailure: Error, Equatable, Sendable {
    /// What the server did, for people: goes on after "the server at URL refused: ".
    public let reason: String
    /// The server's status when it answered with another than 101.
    public let status: Int?

    init(reason: String, status: Int? = nil) {
        self.reason = reason
        self.status = status
    }

    /// An answer that breaks the rules.
    static func invalidResponse(_ reason: String) -> HandshakeFailure { HandshakeFailure(reason: reason) }
}
