// The monotonic clock, and arithmetic with its times.

import CLinux
import Glibc

/// Nanoseconds of the monotonic clock: the only clock that counts here.
typealias Nanoseconds = UInt64

func now() -> Nanoseconds {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// The first of two deadlines that may not be there.
func earlier(_ a: Nanoseconds?, _ b: Nanoseconds?) -> Nanoseconds? {
    guard let a, let b else { return a ?? b }
    return min(a, b)
}

extension Nanoseconds {
    /// Seconds as nanoseconds; what is too large to add to a time becomes some 127 years.
    init(seconds: Double) {
        self = seconds < 4e9 ? UInt64(seconds > 0 ? seconds * 1e9 : 0) : 4_000_000_000_000_000_000
    }

    var seconds: Double { Double(self) / 1e9 }
}
