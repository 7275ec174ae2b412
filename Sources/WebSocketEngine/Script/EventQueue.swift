// Events on their way from the engine to one Lua state: the engine publishes records after each read, Lua takes
// all of them at once by exchange. One lock on either side for a whole batch; a wake-up only when somebody
// waits.

public import CEvents
import CLinux
import Glibc
import Synchronization
public import WebSocketProtocol

public final class EventQueue: Sendable {
    private final class Rest {
        var records = EventRecords()
    }

    private struct Shared: ~Copyable {
        var records = EventRecords()
        /// Logs behind it: there was no memory to append them.
        var more: [Rest] = []
        /// Whether large messages come, so that the memory of those that were delivered is soon used again.
        var keepsBlocks = false
        /// Whether somebody waits for the descriptor, and was not signalled yet.
        var isAwaited = false
        /// Whether the Lua state is gone: events are dropped.
        var isShut = false
        /// Websockets with starts whose end was not published yet, by their ids.
        var live: [UInt32: (socket: WebSocket, starts: Int)] = [:]
        /// An eventfd, made for the first wait; readable when an awaited event was published, sometimes spuriously.
        var wakeup: FileDescriptor?

        @inline(__always)
        var count: Int { more.isEmpty ? records.count : countWithRest }

        private var countWithRest: Int { more.reduce(records.count) { $0 + $1.records.count } }

        /// Puts the records behind those that wait, and leaves `other` empty.
        @inline(__always)
        mutating func append(_ other: inout EventRecords) {
            if !more.isEmpty || !records.moveRecords(from: &other) { appendAsRest(&other) }
        }

        @inline(never)
        private mutating func appendAsRest(_ other: inout EventRecords) {
            let rest = Rest()
            swap(&rest.records, &other)
            more.append(rest)
        }

        /// Exchanges the first records for `other`, which is empty.
        @inline(__always)
        mutating func takeFirst(_ other: inout EventRecords) {
            swap(&records, &other)
            if !more.isEmpty { takeNext() }
        }

        @inline(never)
        private mutating func takeNext() {
            let next = more.removeFirst()
            swap(&records, &next.records)
        }

        /// Makes the descriptor, if there is none or the host has closed it. False when none is to be had.
        mutating func prepareWakeup() -> Bool {
            if wakeup?.isOurs == true { return true }
            wakeup = nil
            let number = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
            guard number >= 0 else { return false }
            wakeup = FileDescriptor(number)
            return true
        }
    }

    private let shared = Mutex(Shared())
    /// Records that are queued: told without the lock.
    private let queued = Atomic(0)

    public init() {}

    // MARK: - The engine's side

    /// Queues the records of `records` and leaves it empty. False when nobody will ever read them.
    @discardableResult
    func publish(_ records: inout EventRecords) -> Bool {
        var waked: Int32 = -1
        // After the lock is released, because the woken thread takes it at once. The descriptor stays as long as its thread
        // sleeps.
        defer { if waked >= 0 { eventfd_write(waked, 1) } }
        return shared.withLock { shared in
            if shared.isShut {
                records.removeAll()
            } else {
                if records.hasDetachedBlocks { shared.keepsBlocks = true }
                shared.append(&records)
                records.pool.moveBlocks(from: &shared.records.pool)
                queued.store(shared.count, ordering: .releasing)
            }
            if shared.isAwaited {
                shared.isAwaited = false
                if shared.wakeup?.isOurs == true { waked = shared.wakeup?.number ?? -1 }
            }
            return !shared.isShut
        }
    }

    /// No large message has come for a moment: the memory of the last ones is kept no longer, even if it is given back
    /// only later.
    func freePooledBlocks() {
        shared.withLock { shared in
            shared.keepsBlocks = false
            shared.records.pool.removeAll()
        }
    }

    func websocketStarted(_ socket: WebSocket) {
        shared.withLock { $0.live[socket.id, default: (socket, 0)].starts += 1 }
    }

    /// The last event of a start comes next. Returns false when there is no such start.
    func websocketEnded(_ socket: WebSocket) -> Bool {
        shared.withLock { shared in
            guard let (_, starts) = shared.live[socket.id] else { return false }
            shared.live[socket.id] = starts > 1 ? (socket, starts - 1) : nil
            return true
        }
    }

    /// The engine is gone: each start of each websocket is over.
    func endWebsockets(_ reason: String) {
        let live = shared.withLock { shared in
            defer { shared.live = [:] }
            return shared.live.values
        }
        var records = EventRecords()
        for (socket, starts) in live {
            let wasOpen = socket.engineEnded()
            var error = EventInfo(error: "Connection to \(socket.options.url?.description ?? "") failed: \(reason)")
            error.add("kind", "system")
            socket.publishEvent(WS_EVENT_ERROR, error, flags: wasOpen ? 0 : WS_EVENT_FINAL, &records)
            if wasOpen { socket.publishEvent(WS_EVENT_CLOSE, .brokenConnection, flags: WS_EVENT_FINAL, &records) }
            for _ in 1..<starts { socket.publishEvent(WS_EVENT_ENDED, EventInfo(), flags: WS_EVENT_FINAL, &records) }
        }
    }

    // MARK: - Lua's side

    public var count: Int { queued.load(ordering: .acquiring) }

    /// Exchanges `records`, whose records were all delivered, for what is queued.
    public func take(_ records: inout EventRecords) {
        records.removeAll()
        guard !isEmpty else { return }
        shared.withLock { shared in
            shared.takeFirst(&records)
            // Where the engine finds it.
            shared.records.pool.moveBlocks(from: &records.pool)
            queued.store(shared.count, ordering: .relaxed)
        }
    }

    /// Takes the memory of a delivered message back, for the next ones or none.
    public func giveBack(_ block: ws_block) {
        let isKept = shared.withLock { $0.keepsBlocks && $0.records.pool.put(block) }
        if !isKept { free(block.bytes) }
    }

    public var isEmpty: Bool { count == 0 }

    /// Waits until something is queued, a signal arrives or the time is over. With a `mask` the caller has blocked
    /// all signals, and the wait is open to those that are not in it.
    /// - Parameter mask: a sigset_t. (Its Swift type may come from either of two modules, so it can't stand here.)
    public func wait(until limit: Double, _ mask: UnsafeRawPointer?) {
        let mask = mask?.assumingMemoryBound(to: sigset_t.self)
        let served: Void? = Engine.withCurrent { engine in
            if engine.runLoopForScript(self, until: Nanoseconds(seconds: limit), mask) { return }
            engine.whileWaiting { sleepUntilSignalled(limit, mask) }
        }
        guard served == nil else { return }
        // The engine has ended, and publishes the end of what is live.
        while awaits({ $0.records.isEmpty && !$0.live.isEmpty }), sleep(until: limit, mask) {}
        _ = awaits { _ in false }
        // Nothing can come.
        if isEmpty { _ = Self.sleep(-1, until: limit, mask) }
    }

    private func sleepUntilSignalled(_ limit: Double, _ mask: UnsafePointer<sigset_t>?) {
        // Dropped events also signal the descriptor: look at the queue again.
        while awaits({ $0.records.isEmpty }), sleep(until: limit, mask) {}
        _ = awaits { _ in false }
    }

    /// Whether `condition` holds: then the descriptor tells what may have changed it.
    private func awaits(_ condition: (borrowing Shared) -> Bool) -> Bool {
        shared.withLock { shared in
            let holds = condition(shared)
            shared.isAwaited = holds && shared.prepareWakeup()
            return holds
        }
    }

    /// False when it ended by a signal or because the time is over.
    @discardableResult
    private func sleep(until limit: Double, _ mask: UnsafePointer<sigset_t>? = nil) -> Bool {
        // Only a waiting thread replaces the descriptor, and a Lua state has one thread.
        let number = shared.withLock { $0.wakeup?.number ?? -1 }
        // With no descriptor to be had, the queue is looked at again and again.
        guard number >= 0 else {
            _ = Self.sleep(-1, until: min(limit, now().seconds + Self.interval), mask)
            return now().seconds < limit
        }
        guard Self.sleep(number, until: limit, mask) else { return false }
        var count: UInt64 = 0
        _ = eventfd_read(number, &count)
        return true
    }

    /// Seconds between two looks at the queue where there is no descriptor.
    private static let interval = 0.01

    /// Whether the descriptor is readable; -1 is none, and never.
    private static func sleep(_ descriptor: Int32, until limit: Double, _ mask: UnsafePointer<sigset_t>?) -> Bool {
        let seconds = max(limit - now().seconds, 0)
        // What no timespec can hold is for ever.
        guard seconds < 1e9 else { return ws_wait_readable(descriptor, nil, mask) > 0 }
        var time = timespec(tv_sec: Int(seconds), tv_nsec: Int((seconds - seconds.rounded(.down)) * 1e9))
        return ws_wait_readable(descriptor, &time, mask) > 0
    }

    /// In a child of fork: begins anew. The descriptor is the parent's as well, and stays as it is.
    public func reset() {
        shared.reset(to: Shared())
        queued.store(0, ordering: .relaxed)
    }

    /// The Lua state ends: nothing is queued any more. Waits, for so long at most, until the state's
    /// websockets, which were abandoned, are closed; drops those that are not.
    public func shut(seconds: Double) {
        let deadline = now() + Nanoseconds(seconds: seconds)
        shared.withLock { shared in
            shared.isShut = true
            shared.records.removeAll()
            shared.more = []
            queued.store(0, ordering: .relaxed)
        }
        while awaits({ !$0.live.isEmpty }), let engine = Engine.withCurrent({ $0 }) {
            guard now() < deadline else {
                engine.post(.dropSessions(self))
                break
            }
            engine.whileWaiting { sleep(until: deadline.seconds) }
        }
        Engine.withCurrent { $0.remove(self) }
    }
}
