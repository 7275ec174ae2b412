// When to connect, to wait, to give up: a pure state machine. Session tells it what happened and performs
// the action that it returns.

struct ReconnectState {
    enum Phase: Equatable {
        case stopped
        case connecting
        case open(since: Nanoseconds)
        /// The script has asked for the end, and the closing handshake goes on.
        case closing
        case waiting
    }

    enum Action: Equatable {
        case none
        /// Begin an attempt now.
        case startAttempt
        /// Drop the attempt, or the wait for the next; the start is over.
        case abort
        /// Begin the closing handshake.
        case startClosingHandshake
        /// The start that was asked for is over before it began.
        case endPendingConnect
    }

    /// What follows an attempt that failed or a connection that ended.
    enum Next: Equatable {
        /// Nothing: the start is over.
        case stop
        /// A new start was asked for meanwhile: begin it now.
        case restart
        /// The next attempt, after so many seconds.
        case retry(after: Double)
    }

    private(set) var phase = Phase.stopped
    /// Attempts of this start without a success since.
    private(set) var attempts = 0
    private var retries = 0
    private var backoff: Backoff
    private let reconnectLimit: Int?
    /// What was told of what follows this connection.
    private var announcedNext: Next?
    /// Whether a `connect` came while closing.
    private var hasPendingConnect = false

    /// - Parameter reconnect: how many attempts in a row after one that failed; nil: no end.
    init(backoff: Backoff, reconnect reconnectLimit: Int?) {
        self.backoff = backoff
        self.reconnectLimit = reconnectLimit
    }

    mutating func connect() -> Action {
        switch phase {
        case .stopped:
            beginConnect()
            return .startAttempt
        case .closing:
            hasPendingConnect = true
            return .none
        case .connecting, .open, .waiting:
            // Lua's side lets a second connect through only after a close.
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
        case .stopped: return .none
        case .connecting, .waiting:
            phase = .stopped
            return .abort
        case .open:
            phase = .closing
            return .startClosingHandshake
        case .closing:
            guard hasPendingConnect else { return .none }
            hasPendingConnect = false
            return .endPendingConnect
        }
    }

    mutating func connectionOpened(_ now: Nanoseconds) {
        phase = .open(since: now)
        attempts = 0
        announcedNext = nil
    }

    /// - Parameters:
    ///   - permanent: trying again would not help.
    ///   - atLeast: seconds that the server asked to wait.
    mutating func attemptFailed(permanent: Bool, atLeast: Double = 0, random: UInt32) -> Next {
        guard !permanent, reconnectLimit.map({ retries < $0 }) ?? true else { return stop() }
        retries += 1
        phase = .waiting
        return .retry(after: max(backoff.delayAfterFailure(random: random), atLeast))
    }

    /// What follows when the open connection is gone, unless the script asks for the end before. Once told, it stays so.
    mutating func announceNext(_ now: Nanoseconds, random: UInt32) -> Next {
        guard case .open(let since) = phase else { return .stop }
        if let announcedNext { return announcedNext }
        // An open connection was a success, but one that did not last must not make a tight loop.
        let wait = backoff.delayAfterConnection(lasted: (now - since).seconds, random: random)
        if backoff.failures == 0 { retries = 0 }
        let next: Next = reconnectLimit.map { retries < $0 } ?? true ? .retry(after: wait) : .stop
        retries += 1
        announcedNext = next
        return next
    }

    /// The connection is gone, whoever ended it.
    mutating func connectionLost(_ now: Nanoseconds, random: UInt32) -> Next {
        guard case .open = phase, case .retry(let wait) = announceNext(now, random: random) else { return stop() }
        phase = .waiting
        return .retry(after: wait)
    }

    mutating func beginRetry() {
        phase = .connecting
        attempts += 1
    }

    private mutating func stop() -> Next {
        phase = .stopped
        guard hasPendingConnect else { return .stop }
        hasPendingConnect = false
        beginConnect()
        return .restart
    }
}
