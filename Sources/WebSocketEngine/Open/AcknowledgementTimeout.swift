// Decides when a peer that acknowledges nothing is gone. A peer with a closed window is not: its system answers the window
// probes, and its program may read on. (The kernel's own TCP_USER_TIMEOUT does not tell these two apart.) Pure:
// OpenConnection owns it and acts, on the thread that runs the loop.

struct AcknowledgementTimeout {
    enum Verdict: Equatable { case alive, gone }

    /// Nanoseconds without an acknowledgement after which the peer is given up.
    static let limit = Nanoseconds(seconds: 120)

    /// When to call `check`; nil when everything that was sent is acknowledged.
    private(set) var deadline: Nanoseconds?

    /// The kernel has taken bytes.
    mutating func sent(_ now: Nanoseconds) {
        if deadline == nil { deadline = now + Self.limit }
    }

    /// The deadline has come.
    /// - Parameter latest: nil on a socket without acknowledgements (Unix).
    mutating func check(_ latest: Acknowledgement?, _ now: Nanoseconds) -> Verdict {
        guard let latest, latest.outstanding > 0 else {
            deadline = nil
            return .alive
        }
        // A single unanswered probe may have been sent just now.
        guard latest.unanswered > 1, latest.latest + Self.limit <= now else {
            deadline = max(latest.latest + Self.limit, now + Self.limit / 8)
            return .alive
        }
        return .gone
    }
}
