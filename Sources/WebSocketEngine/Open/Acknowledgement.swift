// What the peer's system has acknowledged of what was sent: it tells a peer that is slow from one that is gone. And how
// long a peer that acknowledges nothing is waited for. Pure: Channel asks the kernel.

struct Acknowledgement: Equatable {
    /// Bytes that the kernel has taken and the peer's system has not acknowledged.
    var outstanding: Int
    /// Retransmissions, or probes of a closed window, in a row that were not answered.
    var unanswered: Int
    /// When the peer's system acknowledged anything, or opened its window, last.
    var latest: Nanoseconds
    /// Smoothed.
    var roundTrip: Nanoseconds = 0
}

/// Gives a connection up whose peer acknowledges nothing of what was sent. A peer with a closed window is not given
/// up: its system answers the window probes, and its program may read on. (The kernel's own TCP_USER_TIMEOUT counts both.)
struct AcknowledgementTimeout {
    enum Verdict: Equatable { case alive, gone }

    /// Nanoseconds without an acknowledgement after which the peer is given up.
    static let limit = Nanoseconds(seconds: 120)

    /// When to look; nil while nothing was sent since everything was acknowledged.
    private(set) var deadline: Nanoseconds?

    /// Something was handed to the kernel.
    mutating func sent(_ now: Nanoseconds) {
        if deadline == nil { deadline = now + Self.limit }
    }

    /// The deadline has come.
    /// - Parameter latest: nil where nobody acknowledges.
    mutating func check(_ latest: Acknowledgement?, _ now: Nanoseconds) -> Verdict {
        guard let latest, latest.outstanding > 0 else {
            deadline = nil
            return .alive
        }
        // One unanswered probe may have been sent just now; two were not answered.
        guard latest.unanswered > 1, latest.latest + Self.limit <= now else {
            deadline = max(latest.latest + Self.limit, now + Self.limit / 8)
            return .alive
        }
        return .gone
    }
}
