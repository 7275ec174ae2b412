// What leads to an open connection: ConnectAttempt, or for a client of a server Acceptance. Session owns it and calls it, on the
// thread that runs the loop.

import WebSocketProtocol

protocol Opening: AnyObject {
    /// The other end, for errors: "to ws://…", or "from" an address.
    var peer: String { get }
    /// When `timeout` is to be called.
    var deadline: Nanoseconds { get }
    func ready(_ readiness: Poller.Readiness, _ loop: inout LoopContext) -> OpeningProgress
    func timeout(_ loop: inout LoopContext) -> OpeningProgress
    /// - Parameter token: of the stage that waits for the context; one of an earlier stage is ignored.
    func tlsContextFinished(
        _ token: Poller.Token, _ result: Result<TLSContext, TLSFailure>, _ loop: inout LoopContext
    ) -> OpeningProgress
    /// The session waits for it no longer.
    func cancel(_ loop: inout LoopContext)
}

enum OpeningProgress {
    case pending
    case open(OpenConnection, EventInfo)
    case failed(OpeningFailure)
}

/// What an ERROR event reports, or for a client of a server a debug line.
struct OpeningFailure {
    /// `info.kind`
    var kind: String
    var reason: String
    /// Another attempt would fail in the same way.
    var isPermanent = false
    /// The reply of a SOCKS proxy; for HTTP it is in `response`.
    var status: Int?
    var response: HTTPHead?
    /// The first bytes of the body of a refused handshake.
    var body = ""
}
