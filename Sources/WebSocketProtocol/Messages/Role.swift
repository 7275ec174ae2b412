// The end of a connection that we are, and what follows from it: who masks, and which way is ours. Pure; used on both threads.

public enum Role: Sendable {
    case client, server

    /// RFC 6455 section 5.1: frames of the client are masked, those of the server are not.
    public var masks: Bool { self == .client }

    /// The way of our messages.
    public func outgoing(_ deflate: DeflateParameters) -> DeflateParameters.Direction {
        self == .client ? deflate.client : deflate.server
    }

    /// The way of the peer's messages.
    public func incoming(_ deflate: DeflateParameters) -> DeflateParameters.Direction {
        self == .client ? deflate.server : deflate.client
    }
}
