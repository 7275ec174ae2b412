// Why a connection fails (RFC 6455 section 7.1.7): thrown by MessageReader and the types below it, reported by the
// engine.

public struct ProtocolFailure: Error, Equatable, Sendable {
    /// The code of the Close frame that the peer gets.
    public let code: CloseCode
    /// The text of the script's ERROR event. It names the section of the RFC that the peer broke.
    public let reason: String

    public init(_ code: CloseCode, _ reason: String) {
        self.code = code
        self.reason = reason
    }
}
