// A timerfd: a descriptor that becomes readable at a time of the monotonic clock.

import CLinux
import Glibc

struct TimerDescriptor: ~Copyable {
    let descriptor: FileDescriptor

    init() throws(SystemError) {
        descriptor = try FileDescriptor(timerfd_create(CLOCK_MONOTONIC, Int32(TFD_CLOEXEC)), from: "timerfd_create")
    }

    /// Takes the place of the time before; one that has passed is now.
    borrowing func set(_ time: Nanoseconds) {
        var setting = itimerspec()
        // Zero would be never.
        let time = max(time, 1)
        (setting.it_value.tv_sec, setting.it_value.tv_nsec) = (Int(time / 1_000_000_000), Int(time % 1_000_000_000))
        timerfd_settime(descriptor.number, Int32(TFD_TIMER_ABSTIME), &setting, nil)
    }

    /// Waits for it. Returns false when the host has closed the descriptor.
    borrowing func waitUntilFired() -> Bool {
        var count: UInt64 = 0
        guard descriptor.isOurs else { return false }
        return retrying { read(descriptor.number, &count, MemoryLayout<UInt64>.size) } > 0
    }
}
