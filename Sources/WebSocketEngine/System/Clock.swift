// The monotonic clock. All times and deadlines of the engine are read from it. Called on any thread.

import CLinux
import Glibc

/// A time of the monotonic clock, or a duration, in nanoseconds.
typealias Nanoseconds = UInt64

func now() -> Nanoseconds { read(CLOCK_MONOTONIC) }

/// The time of the kernel's last tick: at most some milliseconds before `now()`, for a tenth of its cost.
func lastTick() -> Nanoseconds { read(CLOCK_MONOTONIC_COARSE) }

@inline(__always)
private func read(_ clock: clockid_t) -> Nanoseconds {
    var time = timespec()
    clock_gettime(clock, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// The earlier of two deadlines; nil means no deadline.
func earlier(_ a: Nanoseconds?, _ b: Nanoseconds?) -> Nanoseconds? {
    guard let a, let b else { return a ?? b }
    return min(a, b)
}

extension Nanoseconds {
    /// Negative durations become 0. Durations above 4e9 s become 4e9 s (127 years), so that adding one to a time cannot
    /// overflow.
    init(seconds: Double) {
        self = seconds < 4e9 ? UInt64(seconds > 0 ? seconds * 1e9 : 0) : 4_000_000_000_000_000_000
    }

    var seconds: Double { Double(self) / 1e9 }
}
