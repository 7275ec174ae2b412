// Whether a script's wait looks again and again for a moment before it sleeps: where answers come within
// microseconds, falling asleep and being woken takes longer than they do. Pure: told how the waits went.

struct SpinPolicy {
    /// A try takes so long at most: about what it costs to sleep, so that one in vain costs no more than it could have
    /// saved.
    static let limit: Nanoseconds = 20_000
    /// So many events in a row must have come within that time before there is a try.
    private static let least = 4
    /// Each try in vain makes the next one rarer, down to one in so many waits: the peer may share our processor, and
    /// can answer only once we sleep.
    private static let most = 1024

    private var brief = 0
    private var needed = least

    var pays: Bool { brief >= needed }

    /// A wait has slept until something came: so long after the one before.
    mutating func slept(_ time: Nanoseconds) { brief = time < Self.limit ? min(brief + 1, Self.most) : 0 }

    /// - Parameter hit: whether something came during the try.
    mutating func ended(hit: Bool) {
        if hit {
            needed = max(needed / 2, Self.least)
        } else {
            needed = min(needed * 2, Self.most)
            brief = 0
        }
    }
}
