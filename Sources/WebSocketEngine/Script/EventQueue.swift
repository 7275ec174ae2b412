// The events of one Lua state that wait for `poll`. The thread that runs the loop publishes the records of a whole read
// under one lock; Lua's thread takes all of them with one exchange. A wake-up (`ws_make_wakeup`) wakes Lua's thread, only when it waits (here,
// or in a loop of the host: EventQueue+Descriptor.swift). Owned by the Lua state (Bridge); every WebSocket of the state has a
// reference.

public import CEvents
import CLinux
import Glibc
import Synchronization
public import WebSocketProtocol

public final class EventQueue: Sendable {
    /// Records that could not be appended, because memory was short.
    final class Rest {
        var records = EventRecords()
    }

    struct Shared: ~Copyable {
        var records = EventRecords()
        /// Records behind `records`.
        var rests: [Rest] = []
        /// Whether large messages have come in the last half second: delivered blocks are then pooled for the next ones.
        var keepsBlocks = false
        /// Whether the Lua state is gone: events are dropped.
        var isShut = false
        /// By their ids, the websockets for which a last record is still to be published; `starts`: how many, one for each
        /// `connect`.
        var live: [UInt32: (websocket: WebSocket, starts: Int)] = [:]
        /// Servers that listen, by their ids.
        var servers: [UInt32: Server] = [:]
        /// By their ids, accepted websockets and requests whose records Lua has not read.
        var accepted: [UInt32: WebSocket] = [:]
        var requests: [UInt32: IncomingRequest] = [:]
        /// Made for the first wait; see `Signal`.
        var wakeup: FileDescriptor?
        /// Made when the script asks for it.
        var descriptor: EventDescriptor?

        /// The number of `wakeup`; -1 if there is none, or the host has closed it.
        var openWakeup: Int32 {
            switch wakeup {
            case .some(let wakeup): wakeup.numberIfOurs
            case .none: -1
            }
        }

        @inline(__always)
        var count: Int { rests.isEmpty ? records.count : countWithRests }

        private var countWithRests: Int { rests.reduce(records.count) { $0 + $1.records.count } }

        /// Appends the records of `other`, and leaves it empty.
        @inline(__always)
        mutating func append(_ other: inout EventRecords) {
            if !rests.isEmpty || !records.moveRecords(from: &other) { appendAsRest(&other) }
        }

        @inline(never)
        private mutating func appendAsRest(_ other: inout EventRecords) {
            let rest = Rest()
            swap(&rest.records, &other)
            rests.append(rest)
        }

        /// Exchanges the first records for the empty `other`.
        @inline(__always)
        mutating func takeFirst(_ other: inout EventRecords) {
            swap(&records, &other)
            if !rests.isEmpty { takeNext() }
        }

        @inline(never)
        private mutating func takeNext() {
            let next = rests.removeFirst()
            swap(&records, &next.records)
        }
    }

    /// What the wake-up is used for. Changes only with the lock held; Lua's thread also reads it without.
    enum Signal: UInt8, AtomicRepresentable {
        /// Nobody waits for it.
        case unused
        /// The next publish writes it.
        case awaited
        /// It is readable, or, if there is no descriptor, will be as soon as the publisher has released the lock. Only Lua's
        /// thread ends this state.
        case written
    }

    /// A test holds the lock, so that nothing is published meanwhile.
    let shared = Mutex(Shared())
    let signal = Atomic(Signal.unused)
    /// True while Lua's thread runs the loop: it takes what it publishes, and must not signal itself.
    let isRunningLoop = Atomic(false)
    /// Whether `Shared.descriptor` was made; readable without the lock.
    let descriptorExists = Atomic(false)
    /// Time of the script's next timer; `max`: none. Only Lua's thread uses it.
    let timer = Atomic(Nanoseconds.max)
    /// The last id that was given to a websocket or a server; changes only with the lock held. It is not reset after a fork: Lua
    /// still has the objects of the parent's websockets.
    let lastID = Atomic<UInt32>(0)
    /// Number of queued records, readable without the lock.
    private let queued = Atomic(0)

    public init() {}

    // MARK: - The thread that runs the loop

    /// Queues the records and leaves `records` empty. False when the Lua state is gone.
    @discardableResult
    func publish(_ records: inout EventRecords) -> Bool {
        var waked: Int32 = -1
        // After the lock is released, because the woken thread takes it at once. That thread keeps the descriptor.
        defer { if waked >= 0 { ws_signal_wakeup(waked) } }
        return shared.withLock { shared in
            if shared.isShut {
                records.removeAll()
            } else {
                if records.hasDetachedBlocks { shared.keepsBlocks = true }
                shared.append(&records)
                if !shared.records.pool.isEmpty { records.pool.moveBlocks(from: &shared.records.pool) }
                queued.store(shared.count, ordering: .releasing)
            }
            if signal.load(ordering: .relaxed) == .awaited, !isRunningLoop.load(ordering: .relaxed) {
                signal.store(.written, ordering: .relaxed)
                waked = shared.openWakeup
                // A loop of the host must not find it unreadable, and readable later without a reason.
                if hasDescriptor {
                    ws_signal_wakeup(waked)
                    waked = -1
                }
            }
            return !shared.isShut
        }
    }

    /// No large message has come for half a second: frees the pool, and from now on the blocks that Lua gives back.
    func freePooledBlocks() {
        shared.withLock { shared in
            shared.keepsBlocks = false
            shared.records.pool.removeAll()
        }
    }

    func websocketStarted(_ websocket: WebSocket) {
        shared.withLock { $0.live[websocket.id, default: (websocket, 0)].starts += 1 }
    }

    /// To be called before the last record of a start is published. Returns false if there is no start left.
    func websocketEnded(_ websocket: WebSocket) -> Bool {
        shared.withLock { shared in
            guard let (_, starts) = shared.live[websocket.id] else { return false }
            shared.live[websocket.id] = starts > 1 ? (websocket, starts - 1) : nil
            return true
        }
    }

    /// The engine has failed: publishes the last records of all live websockets.
    func endWebsockets(_ reason: String) {
        let live = shared.withLock { shared in
            defer { shared.live = [:] }
            return shared.live.values
        }
        var records = EventRecords()
        endServers(reason, &records)
        for (websocket, starts) in live {
            let wasOpen = websocket.engineEnded()
            var error = EventInfo(error: "Connection \(websocket.peer) failed: \(reason)")
            error.add("kind", "system")
            websocket.publishEvent(WS_EVENT_ERROR, error, flags: wasOpen ? 0 : WS_EVENT_FINAL, &records)
            if wasOpen {
                websocket.publishEvent(WS_EVENT_CLOSE, .brokenConnection(reason), flags: WS_EVENT_FINAL, &records)
            }
            for _ in 1..<starts { websocket.publishEvent(WS_EVENT_ENDED, EventInfo(), flags: WS_EVENT_FINAL, &records) }
        }
    }

    // MARK: - Lua's thread

    public var count: Int { queued.load(ordering: .acquiring) }

    /// Exchanges `records`, all of which were delivered, for the queued records. If there are none, waits for the first as `wait`
    /// does; with the limit 0 it does not.
    public func fetch(_ records: inout EventRecords, waitingUntil limit: Double, _ mask: UnsafeRawPointer?) {
        if limit <= 0 {
            runLoopWithoutWaiting()
        } else if isEmpty {
            wait(until: limit, mask)
        }
        take(&records)
    }

    /// Exchanges `records`, all of which were delivered, for the queued records.
    @inline(__always)
    func take(_ records: inout EventRecords) {
        records.removeAll()
        guard !isEmpty else { return }
        shared.withLock { shared in
            shared.takeFirst(&records)
            // The loop finds the blocks of delivered messages here.
            if !records.pool.isEmpty { shared.records.pool.moveBlocks(from: &records.pool) }
            queued.store(shared.count, ordering: .relaxed)
        }
    }

    /// Takes back the block of a delivered message.
    public func giveBack(_ block: ws_block) {
        let isKept = shared.withLock { $0.keepsBlocks && $0.records.pool.put(block) }
        if !isKept { free(block.bytes) }
    }

    var isEmpty: Bool { count == 0 }

    /// Waits until a record is queued, a signal arrives, or the monotonic clock shows `limit` seconds.
    /// - Parameter mask: a sigset_t (its Swift type may come from either of two modules, so it can't stand here). With it
    ///   the caller has blocked all signals, and the wait lets those through that are not in the mask.
    @inline(__always)
    func wait(until limit: Double, _ mask: UnsafeRawPointer?) {
        let mask = mask?.assumingMemoryBound(to: sigset_t.self)
        let hasWaited: Void? = Engine.withCurrent { engine in
            if engine.runLoopForScript(self, until: Nanoseconds(seconds: limit), mask) { return }
            engine.whileWaiting { sleepUntilSignalled(limit, mask) }
        }
        guard hasWaited == nil else { return }
        // The engine has failed, and publishes the last records of the live websockets.
        while setAwaited(if: { $0.records.isEmpty && !$0.live.isEmpty }), sleep(until: limit, mask) {}
        _ = setAwaited { _ in false }
        // No event can come.
        if isEmpty { _ = Self.sleep(-1, until: limit, mask) }
    }

    private func sleepUntilSignalled(_ limit: Double, _ mask: UnsafePointer<sigset_t>?) {
        // Dropped events also signal the descriptor: look at the queue again.
        while setAwaited(if: { $0.records.isEmpty }), sleep(until: limit, mask) {}
        _ = setAwaited { _ in false }
    }

    /// Returns whether `condition` holds. If so, the next `publish` signals the wake-up.
    private func setAwaited(if condition: (borrowing Shared) -> Bool) -> Bool {
        shared.withLock { shared in
            let holds = condition(shared)
            if holds, prepareWakeup(&shared) {
                if signal.load(ordering: .relaxed) == .written { readWakeup(&shared) } else { setSignal(.awaited) }
            } else if !hasDescriptor, signal.load(ordering: .relaxed) == .awaited {
                setSignal(.unused)
            }
            return holds
        }
    }

    private func setSignal(_ state: Signal) { signal.store(state, ordering: .relaxed) }

    /// Makes the wake-up, if there is none or the host has closed it. False if the system gives none.
    func prepareWakeup(_ shared: inout Shared) -> Bool {
        if shared.openWakeup >= 0 { return true }
        shared.wakeup = nil
        let number = ws_make_wakeup()
        guard number >= 0 else { return false }
        shared.wakeup = FileDescriptor(number)
        setSignal(.unused)
        return true
    }

    /// The wake-up was signalled: clears it, so that it is awaited again. If it is not readable yet, it stays as it is.
    func readWakeup(_ shared: inout Shared) {
        if ws_clear_wakeup(shared.openWakeup) != 0 { setSignal(.awaited) }
    }

    /// Waits for the wake-up. False if a signal or the time has ended the wait.
    @discardableResult
    private func sleep(until limit: Double, _ mask: UnsafePointer<sigset_t>? = nil) -> Bool {
        // Only a waiting thread replaces the descriptor, and a Lua state has one thread.
        let number = shared.withLock { $0.wakeup?.number ?? -1 }
        // The system gives no descriptor: look at the queue every 10 ms.
        guard number >= 0 else {
            _ = Self.sleep(-1, until: min(limit, now().seconds + Self.lookInterval), mask)
            return now().seconds < limit
        }
        return Self.sleep(number, until: limit, mask)
    }

    /// Seconds between two looks at the queue when there is no wake-up.
    private static let lookInterval = 0.01

    /// Returns whether the descriptor is readable. -1 never is.
    private static func sleep(_ descriptor: Int32, until limit: Double, _ mask: UnsafePointer<sigset_t>?) -> Bool {
        let seconds = max(limit - now().seconds, 0)
        // Longer than a timespec can hold: no limit.
        guard seconds < 1e9 else { return ws_wait_readable(descriptor, nil, mask) > 0 }
        var time = timespec(tv_sec: Int(seconds), tv_nsec: Int((seconds - seconds.rounded(.down)) * 1e9))
        return ws_wait_readable(descriptor, &time, mask) > 0
    }

    /// In a child of fork: begins anew, but for the ids. The wake-up and the descriptor are shared with the parent, and stay as they are.
    public func reset() {
        shared.reset(to: Shared())
        setSignal(.unused)
        isRunningLoop.store(false, ordering: .relaxed)
        descriptorExists.store(false, ordering: .relaxed)
        queued.store(0, ordering: .relaxed)
    }

    /// The Lua state ends, and its websockets were abandoned: drops the events, and waits at most `Engine.farewell`
    /// until the websockets are closed. Connections that are still open then are dropped.
    public func shut() {
        let deadline = now() + Nanoseconds(seconds: Engine.farewell)
        shared.withLock { shared in
            shared.isShut = true
            shared.requests = [:]
            shared.records.removeAll()
            shared.rests = []
            queued.store(0, ordering: .relaxed)
            shared.descriptor = nil
            descriptorExists.store(false, ordering: .relaxed)
        }
        for websocket in acceptedWebSockets() { websocket.abandon() }
        while setAwaited(if: { !$0.live.isEmpty }), let engine = Engine.withCurrent({ $0 }) {
            guard now() < deadline else {
                engine.post(.dropSessions(self))
                break
            }
            engine.whileWaiting { _ = Fork.whileAllowed { sleep(until: deadline.seconds) } }
        }
        Engine.withCurrent { $0.remove(self) }
    }
}
