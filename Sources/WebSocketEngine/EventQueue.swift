// Events on their way from the engine to one Lua state: the engine publishes a log for each read, Lua takes
// all of them at once by exchange. One lock on either side for a whole batch; a wake-up only when somebody
// waits.

public import CEvents
public import CLinux
import Glibc
import Synchronization
public import WebSocketProtocol

public final class EventQueue: Sendable {
    private struct Shared: ~Copyable {
        var log = EventLog()
        /// Whether large messages come, so that the memory of those that were delivered is soon used again.
        var keepsSpares = false
        /// Whether somebody waits for the descriptor, and was not signalled yet.
        var isAwaited = false
        /// Whether the Lua state is gone: events are dropped.
        var isShut = false
        /// Websockets whose end was not published yet.
        var live = 0
    }

    private let shared = Mutex(Shared())
    /// Records that are queued: told without the lock.
    private let queued = Atomic(0)
    /// An eventfd, readable when what is awaited has come; now and then without that.
    private let wakeup: FileDescriptor

    public init() throws(SystemError) {
        wakeup = try FileDescriptor(eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK)), from: "eventfd")
    }

    // MARK: - The engine's side

    /// Queues the records of `log` and leaves it empty. False when nobody will ever read them.
    @discardableResult
    func publish(_ log: inout EventLog) -> Bool {
        var wakes = false
        // Once the lock is free: who wakes up takes it first of all.
        defer { if wakes { eventfd_write(wakeup.number, 1) } }
        return shared.withLock { shared in
            if shared.isShut {
                log.removeAll()
            } else {
                if log.hasLent { shared.keepsSpares = true }
                shared.log.take(&log)
                log.takeSpares(of: &shared.log)
                queued.store(shared.log.count, ordering: .releasing)
            }
            swap(&wakes, &shared.isAwaited)
            return !shared.isShut
        }
    }

    /// No large message has come for a moment: the memory of the last ones is kept no longer, even if it is given back
    /// only later.
    func freeSpares() {
        shared.withLock { shared in
            shared.keepsSpares = false
            shared.log.freeSpares()
        }
    }

    func began() { shared.withLock { $0.live += 1 } }

    /// The last event of a websocket comes next.
    func ended() { shared.withLock { $0.live -= 1 } }

    // MARK: - Lua's side

    public var count: Int { queued.load(ordering: .acquiring) }

    /// Exchanges `log`, whose records were all delivered, for what is queued.
    public func take(_ log: inout EventLog) {
        log.removeAll()
        guard !isEmpty else { return }
        shared.withLock { shared in
            swap(&shared.log, &log)
            // Where the engine finds it.
            shared.log.takeSpares(of: &log)
            queued.store(0, ordering: .relaxed)
        }
    }

    /// Takes the memory of a delivered message back, for the next ones or none.
    public func giveBack(_ block: ws_block) {
        let isKept = shared.withLock { $0.keepsSpares && $0.log.keep(block) }
        if !isKept { free(block.bytes) }
    }

    public var isEmpty: Bool { count == 0 }

    /// Waits until something is queued, a signal arrives or the time is over. With a `mask` the caller has blocked
    /// all signals, and the wait is open to those that are not in it.
    public func wait(until limit: Double, _ mask: UnsafePointer<sigset_t>?) {
        let served: Void? = Engine.withCurrent { engine in
            if engine.serve(self, until: Nanoseconds(seconds: limit), mask) { return }
            engine.sleeping { sleepUntilSignalled(limit, mask) }
        }
        // Nothing can come.
        if served == nil { _ = Self.sleep(-1, until: limit, mask) }
    }

    private func sleepUntilSignalled(_ limit: Double, _ mask: UnsafePointer<sigset_t>?) {
        // It is woken by what was dropped, too.
        while awaits({ $0.log.isEmpty }), sleep(until: limit, mask) {}
        _ = awaits { _ in false }
    }

    /// Whether `condition` holds: then the descriptor tells what may have changed it.
    private func awaits(_ condition: (borrowing Shared) -> Bool) -> Bool {
        shared.withLock { shared in
            shared.isAwaited = condition(shared)
            return shared.isAwaited
        }
    }

    /// False when it ended by a signal or because the time is over.
    @discardableResult
    private func sleep(until limit: Double, _ mask: UnsafePointer<sigset_t>? = nil) -> Bool {
        guard Self.sleep(wakeup.number, until: limit, mask) else { return false }
        var count: UInt64 = 0
        _ = eventfd_read(wakeup.number, &count)
        return true
    }

    /// Whether the descriptor is readable; -1 is none, and never.
    private static func sleep(_ descriptor: Int32, until limit: Double, _ mask: UnsafePointer<sigset_t>?) -> Bool {
        let seconds = max(limit - now().seconds, 0)
        // What no timespec can hold is for ever.
        guard seconds < 1e9 else { return ws_wait_readable(descriptor, nil, mask) > 0 }
        var time = timespec(tv_sec: Int(seconds), tv_nsec: Int((seconds - seconds.rounded(.down)) * 1e9))
        return ws_wait_readable(descriptor, &time, mask) > 0
    }

    /// In a child of fork: begins anew.
    public func reset() {
        shared.reset(to: Shared())
        queued.store(0, ordering: .relaxed)
        // The descriptor is the parent's as well: what makes it readable is not meant for us. Where there is none to be had,
        // the two may wake each other.
        let own = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        guard own >= 0 else { return }
        dup2(own, wakeup.number)
        _ = fcntl(wakeup.number, F_SETFD, FD_CLOEXEC)
        close(own)
    }

    /// The Lua state ends: nothing is queued any more. Waits, for so long at most, until the state's
    /// websockets, which were abandoned, are closed; drops those that are not.
    public func shut(seconds: Double) {
        let deadline = now() + Nanoseconds(seconds: seconds)
        shared.withLock { shared in
            shared.isShut = true
            shared.log.removeAll()
            queued.store(0, ordering: .relaxed)
        }
        while awaits({ $0.live > 0 }), let engine = Engine.withCurrent({ $0 }) {
            guard now() < deadline else { return engine.post(.drop(self)) }
            engine.sleeping { sleep(until: deadline.seconds) }
        }
    }
}
