// What the script's function onattempt has answered. Made by Bridge on Lua's thread, used by ConnectAttempt on the thread that
// runs the loop. (`false`, no further attempt, is a close of the websocket: WebSocket.decline.)

public indirect enum AttemptAnswer: Sendable {
    case go
    /// The websocket's options, some of them replaced for this attempt.
    case goWith(Options)
    /// It raised an error, or gave a wrong answer: the reason in words.
    case failed(String)
}
