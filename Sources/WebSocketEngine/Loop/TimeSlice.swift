// Limits the time of one part of a loop turn. Made and used by Loop, on the thread that runs it.

/// Starts when `isUsedUp` is first called. Most parts of a turn have one thing to do, and then the clock is not read.
struct TimeSlice {
    /// Nanoseconds after which each part of a turn (new events, unfinished sockets, commands, coalesced writes, deadlines)
    /// leaves the rest to the next turn: a socket that becomes ready waits for one slice of each at most.
    static let length = Nanoseconds(seconds: 0.001)

    private var end: Nanoseconds?

    /// To be called after each piece of work. The first call always returns false.
    mutating func isUsedUp() -> Bool {
        guard let end else {
            end = now() + Self.length
            return false
        }
        return now() >= end
    }
}
