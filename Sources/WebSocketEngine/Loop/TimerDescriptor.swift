// A timerfd: a descriptor that becomes readable at a time of the monotonic clock. Owned by Poller, which registers it with
// epoll, and by LoopOwnership, whose loop thread reads it.

import CLinux
import Glibc

struct TimerDescriptor: ~Copyable {
    let descriptor: FileDescriptor

    init() throws(SystemError) {
        descriptor = try FileDescriptor(timerfd_create(CLOCK_MONOTONIC, Int32(TFD_CLOEXEC)), from: "timerfd_create")
    }

    /// Replaces the time set before. A time in the past fires at once.
    borrowing func set(_ time: Nanoseconds) {
        var setting = itimerspec()
        // 0 would disarm the timer.
        let time = max(time, 1)
        (setting.it_value.tv_sec, setting.it_value.tv_nsec) = (Int(time / 1_000_000_000), Int(time % 1_000_000_000))
        timerfd_settime(descriptor.number, Int32(TFD_TIMER_ABSTIME), &setting, nil)
    }

    /// Blocks until the timer has fired. Returns false when the host has closed the descriptor.
    borrowing func waitUntilFired() -> Bool {
        var count: UInt64 = 0
        guard descriptor.isOurs else { return false }
        return retrying { read(descriptor.number, &count, MemoryLayout<UInt64>.size) } > 0
    }
}
