// Decides whether a script's wait polls without sleeping (spins) before it sleeps. If the peer answers within microseconds,
// sleeping and being woken takes longer than the answer. Pure: Loop reports how its waits ended.

struct SpinPolicy {
    /// Maximum time of a spin. Roughly the cost of sleeping and waking, so a failed spin at most doubles the wait.
    static let longestSpin: Nanoseconds = 20_000
    /// Waits in a row that must be shorter than `longestSpin` before the first spin.
    private static let minShortWaits = 4
    /// Each failed spin doubles that number, up to this one: the peer may share our processor, and then it can answer only
    /// while we sleep.
    private static let maxShortWaits = 1024

    private var shortWaits = 0
    private var shortWaitsBeforeSpin = minShortWaits

    var shouldSpin: Bool { shortWaits >= shortWaitsBeforeSpin }

    /// A wait that slept has ended with an event.
    /// - Parameter time: nanoseconds between the ends of the wait before and of this one.
    mutating func didSleep(for time: Nanoseconds) {
        shortWaits = time < Self.longestSpin ? min(shortWaits + 1, Self.maxShortWaits) : 0
    }

    mutating func didSpin(foundEvent: Bool) {
        if foundEvent {
            shortWaitsBeforeSpin = max(shortWaitsBeforeSpin / 2, Self.minShortWaits)
        } else {
            shortWaitsBeforeSpin = min(shortWaitsBeforeSpin * 2, Self.maxShortWaits)
            shortWaits = 0
        }
    }
}
