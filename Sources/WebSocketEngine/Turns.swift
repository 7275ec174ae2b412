// Whose turn the loop is: the engine's thread has it unless Lua threads wait. A Lua thread that waits runs the
// loop itself, so that what comes for it needs no other thread; the engine's takes it back when they have left it
// alone for a moment.

import CLinux
import Glibc
import Synchronization

final class Turns: Sendable {
    /// So long nobody runs the loop after a Lua thread has left it: it will be back, or it computes.
    private static let grace = Nanoseconds(seconds: 0.001)

    /// Whether Lua threads have the loop, or want it.
    private let isLent = Atomic(false)
    /// Whether one runs it.
    private let isBorrowed = Atomic(false)
    /// When one left it last, or began.
    private let since = Atomic<Nanoseconds>(0)
    /// Lua threads that wait while another runs the loop.
    private let sleepers = Atomic(0)
    /// Whether the engine's thread sleeps until it is woken.
    private let isAsleep = Atomic(false)
    /// An eventfd: waits for it keep to the monotonic clock.
    private let wakeup: FileDescriptor

    init() throws(SystemError) {
        let number = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        guard number >= 0 else { throw SystemError("eventfd") }
        wakeup = FileDescriptor(number)
    }

    // MARK: - Lua's side

    /// False when another thread has it already.
    func borrow() -> Bool {
        guard !isBorrowed.exchange(true, ordering: .sequentiallyConsistent) else { return false }
        since.store(now(), ordering: .relaxed)
        isLent.store(true, ordering: .sequentiallyConsistent)
        return true
    }

    func giveBack() {
        since.store(now(), ordering: .relaxed)
        isBorrowed.store(false, ordering: .sequentiallyConsistent)
        let isNeeded = sleepers.load(ordering: .sequentiallyConsistent) > 0
        if isAsleep.exchange(false, ordering: .sequentiallyConsistent) || isNeeded { eventfd_write(wakeup.number, 1) }
    }

    func sleeping(_ body: () -> Void) {
        sleepers.add(1, ordering: .sequentiallyConsistent)
        body()
        sleepers.subtract(1, ordering: .sequentiallyConsistent)
    }

    // MARK: - The engine's side

    var areLent: Bool { isLent.load(ordering: .sequentiallyConsistent) }

    /// Waits until the Lua threads have left the loop alone.
    func awaitReturn() {
        while true {
            wait(Self.grace)
            let hasPassed = now() >= since.load(ordering: .relaxed) + Self.grace
            if isBorrowed.load(ordering: .sequentiallyConsistent) {
                // Whoever waits long leaves us in peace as long.
                guard hasPassed else { continue }
                isAsleep.store(true, ordering: .sequentiallyConsistent)
                if isBorrowed.load(ordering: .sequentiallyConsistent) { wait(nil) }
                isAsleep.store(false, ordering: .sequentiallyConsistent)
            } else if hasPassed || sleepers.load(ordering: .sequentiallyConsistent) > 0 {
                isLent.store(false, ordering: .sequentiallyConsistent)
                guard isBorrowed.load(ordering: .sequentiallyConsistent) else { return }
                // One came at the same moment.
                isLent.store(true, ordering: .sequentiallyConsistent)
            }
        }
    }

    private func wait(_ limit: Nanoseconds?) {
        if let limit {
            var time = timespec(tv_sec: 0, tv_nsec: Int(limit))
            _ = ws_wait_readable(wakeup.number, &time, nil)
        } else {
            _ = ws_wait_readable(wakeup.number, nil, nil)
        }
        var count: UInt64 = 0
        _ = eventfd_read(wakeup.number, &count)
    }
}
