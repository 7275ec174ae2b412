// When the large buffers of a connection are freed. While large messages follow each other their buffers are kept: to get
// pages from the system for each message costs more than to copy it: measured with messages of 1 MiB, 10 % of the rate and a
// third of the processor's time. What was not used for half a second is freed.
// OpenConnection owns one, on the thread that runs the loop. The buffers are in WriteBuffer, OutgoingDeflate, SendQueue and
// the BlockPool of the event records.

struct IdleMemory {
    /// Bytes that an empty buffer keeps. A larger one is freed when it was idle for `timeout`.
    static let capacity = 64 << 10
    private static let timeout = Nanoseconds(seconds: 0.5)

    /// When to free what was not used since.
    private(set) var deadline: Nanoseconds?

    mutating func didUseLargeBuffer(_ now: Nanoseconds) { deadline = now + Self.timeout }

    /// Whether the deadline has come. A buffer in use then sets the next one when it drains.
    mutating func isDue(_ now: Nanoseconds) -> Bool {
        guard let deadline, deadline <= now else { return false }
        self.deadline = nil
        return true
    }
}
