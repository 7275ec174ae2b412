// When to connect, when to wait and when to give up, for one websocket: a state machine without time or sockets of its
// own. Session owns it, reports what happened, and performs the action that it gets; on the thread that runs the loop.
//
// "A connect" is one call of the script's `connect`: it ends with exactly one last event.

struct ReconnectState {
    enum Phase: Equatable {
        case stopped
        case connecting
        /// - announced: what follows this connection, if an ERROR event has already told the script.
        case open(since: Nanoseconds, announced: Next?)
        /// The script has called `close`, and the closing handshake goes on.
        /// - hasPendingConnect: the script has called `connect` again meanwhile.
        case closing(hasPendingConnect: Bool)
        /// For the time of the next attempt.
        case waiting
    }

    enum Action: Equatable {
        case none
        case startAttempt
        /// Drop the attempt, or the wait for the next one: the connect ends.
        case abort
        case startClosingHandshake
        /// A connect that never began ends.
        case endPendingConnect
    }

    /// What follows an attempt that failed or a connection that ended.
    enum Next: Equatable {
        /// Nothing: the connect ends.
        case stop
        /// The connect ends, and the one that was asked for meanwhile begins.
        case restart
        /// The next attempt, after this many seconds.
        case retry(after: Double)
    }

    private(set) var phase = Phase.stopped
    /// Attempts of this connect since its last open connection.
    private(set) var attempts = 0
    /// Retries since the last connection that stayed up.
    private var retries = 0
    private var backoff: Backoff
    private let maximumRetries: Int?

    /// - Parameter maximumRetries: the option `reconnect`; nil: no limit.
    init(backoff: Backoff, maximumRetries: Int?) {
        self.backoff = backoff
        self.maximumRetries = maximumRetries
    }

    // MARK: - The script's calls

    mutating func connect() -> Action {
        switch phase {
        case .stopped:
            beginConnect()
            return .startAttempt
        case .closing:
            phase = .closing(hasPendingConnect: true)
            return .none
        case .connecting, .open, .waiting:
            // The binding lets a second connect through only after a close, whose command comes behind this one.
            return .endPendingConnect
        }
    }

    private mutating func beginConnect() {
        phase = .connecting
        attempts = 1
        retries = 0
        backoff.reset()
    }

    mutating func close() -> Action {
        switch phase {
        case .stopped, .closing(hasPendingConnect: false): return .none
        case .connecting, .waiting:
            phase = .stopped
            return .abort
        case .open:
            phase = .closing(hasPendingConnect: false)
            return .startClosingHandshake
        case .closing(hasPendingConnect: true):
            phase = .closing(hasPendingConnect: false)
            return .endPendingConnect
        }
    }

    // MARK: - The network's news

    mutating func connectionOpened(_ now: Nanoseconds) {
        assert(phase == .connecting)
        phase = .open(since: now, announced: nil)
        attempts = 0
    }

    /// - Parameters:
    ///   - permanent: another attempt would fail in the same way.
    ///   - atLeast: seconds that the server asked to wait.
    mutating func attemptFailed(permanent: Bool, atLeast: Double = 0, random: UInt32) -> Next {
        assert(phase == .connecting)
        guard !permanent, mayRetry else { return stop() }
        retries += 1
        phase = .waiting
        return .retry(after: max(backoff.delayAfterFailure(random: random), atLeast))
    }

    private var mayRetry: Bool { maximumRetries.map { retries < $0 } ?? true }

    /// Decides what follows the open connection, unless the script calls `close` before its end. The decision is kept:
    /// the ERROR and the CLOSE event must report the same `retryin`.
    mutating func announceNext(_ now: Nanoseconds, random: UInt32) -> Next {
        guard case .open(let since, let announced) = phase else { return .stop }
        if let announced { return announced }
        let wait = backoff.delayAfterConnection(lasted: (now - since).seconds, random: random)
        if backoff.failures == 0 { retries = 0 }
        let next: Next = mayRetry ? .retry(after: wait) : .stop
        retries += 1
        phase = .open(since: since, announced: next)
        return next
    }

    /// The connection is gone, whoever ended it.
    mutating func connectionLost(_ now: Nanoseconds, random: UInt32) -> Next {
        guard case .retry(let wait) = announceNext(now, random: random) else { return stop() }
        phase = .waiting
        return .retry(after: wait)
    }

    mutating func beginRetry() {
        assert(phase == .waiting)
        phase = .connecting
        attempts += 1
    }

    private mutating func stop() -> Next {
        guard phase == .closing(hasPendingConnect: true) else {
            phase = .stopped
            return .stop
        }
        beginConnect()
        return .restart
    }
}
