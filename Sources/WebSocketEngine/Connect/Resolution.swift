// What a lookup comes to: made by Resolver on a thread of its own, read by ConnectAttempt on the one that runs the
// loop.

enum Resolution: Sendable {
    /// In the order in which to try them.
    case addresses([Address])
    /// The system's words.
    case failed(String)
}
