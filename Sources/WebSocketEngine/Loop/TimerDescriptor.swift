// A timerfd: a descriptor that becomes readable at a time of the monotonic clock. Owned by EpollDescriptor, which adds it to
// epoll, and by LoopOwnership, whose loop thread reads it.

import CLinux
import Glibc

struct TimerDescriptor: ~Copyable {
    let number: Int32
    /// The interval in which the timer would fire again: more than 31 years. It tells this timer from all others, since the
    /// time of its creation is in it. The inode does not: all timers share one.
    private let interval: timespec

    init() throws(SystemError) {
        let number = timerfd_create(CLOCK_MONOTONIC, Int32(TFD_CLOEXEC | TFD_NONBLOCK))
        guard number >= 0 else { throw SystemError("timerfd_create") }
        let interval = timespec(Nanoseconds(seconds: 1e9) + now())
        guard Self.write(timespec(), interval, to: number) else {
            let error = SystemError("timerfd_settime")
            close(number)
            throw error
        }
        self.number = number
        self.interval = interval
    }

    deinit { if isOurs { close(number) } }

    /// False when the host has closed the timer. Another timer may have its number.
    var isOurs: Bool {
        var setting = itimerspec()
        return timerfd_gettime(number, &setting) == 0 && setting.it_interval.tv_sec == interval.tv_sec
            && setting.it_interval.tv_nsec == interval.tv_nsec
    }

    /// Replaces the time set before. A time in the past fires at once. Returns false when the host has closed the timer.
    @discardableResult
    borrowing func set(_ time: Nanoseconds) -> Bool {
        guard isOurs else { return false }
        // 0 would disarm the timer.
        return Self.write(timespec(max(time, 1)), interval, to: number)
    }

    private static func write(_ time: timespec, _ interval: timespec, to number: Int32) -> Bool {
        var setting = itimerspec(it_interval: interval, it_value: time)
        return timerfd_settime(number, Int32(TFD_TIMER_ABSTIME), &setting, nil) == 0
    }

    /// Blocks until the timer has fired. Returns false when the host has closed the descriptor.
    borrowing func waitUntilFired() -> Bool {
        var count: UInt64 = 0
        while isOurs {
            // Not a read that waits: after a stop of the process it would go on with another file that has the number now.
            _ = ws_wait_readable(number, nil, nil)
            guard isOurs else { return false }
            if read(number, &count, MemoryLayout<UInt64>.size) > 0 { return true }
        }
        return false
    }
}

extension timespec {
    fileprivate init(_ time: Nanoseconds) {
        self.init(tv_sec: Int(time / 1_000_000_000), tv_nsec: Int(time % 1_000_000_000))
    }
}
