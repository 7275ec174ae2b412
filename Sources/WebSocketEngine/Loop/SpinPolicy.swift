// Whether a script's wait looks again and again for a moment before it sleeps: where answers come within
// microseconds, falling asleep and being woken takes longer than they do. Pure: told how the waits went.

struct SpinPolicy {
    /// A try takes so long at most: about what it costs to sleep, so that one in vain costs no more than it could have
    /// saved.
    static let longestSpin: Nanoseconds = 20_000
    /// So many events in a row must have come within that time before there is a try.
    private static let minShortWaits = 4
    /// Each try in vain makes the next one rarer, down to one in so many waits: the peer may share our processor, and
    /// can answer only once we sleep.
    private static let maxShortWaits = 1024

    private var shortWaits = 0
    private var shortWaitsBeforeSpin = minShortWaits

    var shouldSpin: Bool { shortWaits >= shortWaitsBeforeSpin }

    /// A wait has slept until something came: so long after the one before.
    mutating func didSleep(for time: Nanoseconds) {
        shortWaits = time < Self.longestSpin ? min(shortWaits + 1, Self.maxShortWaits) : 0
    }

    /// - Parameter foundEvent: whether something came during the try.
    mutating func didSpin(foundEvent: Bool) {
        if foundEvent {
            shortWaitsBeforeSpin = max(shortWaitsBeforeSpin / 2, Self.minShortWaits)
        } else {
            shortWaitsBeforeSpin = min(shortWaitsBeforeSpin * 2, Self.maxShortWaits)
            shortWaits = 0
        }
    }
}
