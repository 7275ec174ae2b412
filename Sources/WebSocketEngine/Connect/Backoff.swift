// How long to wait before the next attempt: 0.1 s, doubled by each failure, spread by 25 %, between the script's two
// bounds. A value; ReconnectState owns it, on the thread that runs the loop.

struct Backoff {
    /// Seconds (`minreconnectwait`, `maxreconnectwait`); the minimum wins if it is the larger one.
    let minimum: Double
    let maximum: Double
    /// Seconds that a wait after a failure has at least, even if the maximum is 0: no busy loop.
    private static let leastDelay = 0.01
    /// Failures since the last connection that stayed up.
    private(set) var failures = 0

    init(minimum: Double, maximum: Double) {
        self.minimum = minimum
        self.maximum = max(minimum, maximum)
    }

    /// Seconds that the next failure costs, before the spread. The exponent is capped, so that nothing overflows.
    private var currentDelay: Double { bounded(0.1 * Double(1 << min(failures, 40))) }

    private func bounded(_ seconds: Double) -> Double {
        min(max(seconds, minimum, Self.leastDelay), max(maximum, Self.leastDelay))
    }

    /// The wait after a failed attempt, or after a connection that did not stay up long enough.
    /// - Parameter random: spreads clients that failed together: evenly over what the bounds leave of the delay plus or
    ///   minus 25 %, so that no value, not even the maximum, is more likely than another.
    mutating func delayAfterFailure(random: UInt32) -> Double {
        let shortest = bounded(0.75 * currentDelay)
        let longest = bounded(1.25 * currentDelay)
        failures += 1
        // Both may be infinite.
        guard longest > shortest else { return shortest }
        return shortest + (longest - shortest) * Double(random) / Double(UInt32.max)
    }

    /// The wait after a connection that lasted this many seconds: the minimum if that was as long as the current delay,
    /// else the same as after a failure.
    mutating func delayAfterConnection(lasted seconds: Double, random: UInt32) -> Double {
        guard seconds >= currentDelay else { return delayAfterFailure(random: random) }
        failures = 0
        return minimum
    }

    mutating func reset() { failures = 0 }
}
