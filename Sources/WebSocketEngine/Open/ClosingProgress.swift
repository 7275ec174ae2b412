// Decides whether a peer that has not answered our Close gets more time: while our bytes, the Close behind them, make progress
// to its program. Each packet of a peer that sends messages on and on acknowledges, too, so the time of the last
// acknowledgement alone tells nothing. Pure: OpenConnection owns it and acts, on the thread that runs the loop.

struct ClosingProgress {
    /// When our Close was queued.
    private var begin: Nanoseconds = 0
    /// What was seen at the beginning, later at the last deadline.
    private var acknowledged: UInt64 = 0
    private var window = 0

    /// Nanoseconds since our Close was queued after which a peer whose system has all our bytes gets no more time.
    static let limit = AcknowledgementTimeout.limit

    init() {}

    /// - Parameter state: nil on a socket without acknowledgements (Unix).
    init(_ state: Acknowledgement?, _ now: Nanoseconds) {
        begin = now
        acknowledged = state?.acknowledged ?? 0
        window = state?.window ?? 0
    }

    /// The peer's time is over. Returns the end of more time, or nil.
    mutating func extendedDeadline(
        _ state: Acknowledgement, timeout: Nanoseconds, _ now: Nanoseconds
    ) -> Nanoseconds? {
        let hasRead = state.window > window
        let hasAcknowledged = state.acknowledged > acknowledged
        window = state.window
        acknowledged = state.acknowledged
        let latest: Nanoseconds
        if state.outstanding > 0 {
            guard hasRead || hasAcknowledged else { return nil }
            latest = state.latest
        } else {
            // Its system has all bytes, the last of them since `lastSent`. Its program still has to read them.
            guard now < begin + Self.limit else { return nil }
            latest = hasRead ? state.latest : state.lastSent
        }
        return latest + timeout > now ? latest + timeout : nil
    }
}
