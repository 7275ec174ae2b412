// Why a connection is failed (RFC 6455 section 7.1.7): the code for the peer, the words for the user.

public struct ProtocolFailure: Error, Equatable, Sendable {
    public let code: CloseCode
    /// What the peer did, for people; with the section of the RFC where one is broken.
    public let reason: String

    public init(_ code: CloseCode, _ reason: String) {
        self.code = code
        self.reason = reason
    }
}
