// The result of a send: returned by WebSocket on Lua's thread, turned into an error by object.c.

public enum SendResult: Equatable, Sendable {
    case sent
    case notOpen
    /// Why nothing of the message was taken.
    case failed(String)
}
