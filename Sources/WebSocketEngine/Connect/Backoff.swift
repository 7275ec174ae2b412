// How long to wait before the next attempt: 0.1 s doubling, with jitter, between the script's two bounds.

struct Backoff {
    /// Seconds; the minimum wins where the two contradict each other.
    let minimum: Double
    let maximum: Double
    /// Even with a maximum of 0, attempts that fail at once must not fill the time.
    private static let leastDelay = 0.01
    /// Attempts in a row that earned a wait.
    private(set) var failures = 0

    init(minimum: Double, maximum: Double) {
        self.minimum = minimum
        self.maximum = max(minimum, maximum)
    }

    /// The wait that the next failure earns, without jitter. Doubling ends where it has long met any maximum.
    var currentDelay: Double { bounded(0.1 * Double(1 << min(failures, 40))) }

    private func bounded(_ seconds: Double) -> Double { min(max(seconds, minimum), max(maximum, Self.leastDelay)) }

    /// The wait after a failed attempt, or after a connection that did not stay up long enough.
    /// - Parameter random: what spreads clients that failed together by a quarter either way.
    mutating func delayAfterFailure(random: UInt32) -> Double {
        let spread = 0.75 + Double(random) / Double(UInt32.max) / 2
        defer { failures += 1 }
        return bounded(currentDelay * spread)
    }

    /// The wait after a connection was lost that had been up for so many seconds: none when it was up for
    /// at least the wait it earned. One that opens and is closed at once counts as a failure.
    mutating func delayAfterConnection(lasted seconds: Double, random: UInt32) -> Double {
        guard seconds >= currentDelay else { return delayAfterFailure(random: random) }
        failures = 0
        return minimum
    }

    mutating func reset() { failures = 0 }
}
