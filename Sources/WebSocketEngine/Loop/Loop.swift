// The event loop: waits for sockets, commands and deadlines, and calls the session that each belongs to. Owns the sessions and
// the LoopContext. Called by Engine, on the thread that holds the loop's lock.

import Dispatch
import CLinux
import Glibc
import WebSocketProtocol

struct Loop: ~Copyable {
    enum Outcome: Equatable {
        case ran
        /// A signal interrupted the wait.
        case interrupted
        /// The loop was stopped and must not run again.
        case stopped
        /// The loop cannot wait any more: the host has closed its descriptors.
        case failed(SystemError)
    }

    var context: LoopContext
    /// The sessions by slot; `slots` is the slot of each websocket that has one, `freeSlots` the empty ones.
    var sessions: [Session?] = []
    var freeSlots: [Int] = []
    var slots: [ObjectIdentifier: Int] = [:]
    /// The listeners by slot; no session has the same.
    var listeners: [Int: Listener] = [:]
    /// Commands taken from the command queue. The first `executedCommands` of them are done.
    var commands: [Command] = []
    var executedCommands = 0
    /// Number of events of the last wait. The first `handledEvents` are done, the rest follows in the next turn, which does
    /// not wait.
    private var events = 0
    private var handledEvents = 0
    private let commandToken: Poller.Token
    /// Turns in a row that left sockets possibly unread, and the number of them after which deadlines are handled anyway.
    private var turnsWithUnreadSockets = 0
    private static let maxTurnsWithUnreadSockets = 64
    /// Nanoseconds from the end of a wait to the look at the clock; when it takes longer, data may have come meanwhile. Longer
    /// than a tick, and than the kernel is late.
    private static let longestHold = Nanoseconds(seconds: 0.01)
    /// Signalled when the last session has ended (Engine.shutDown).
    var shutdownSignal: DispatchSemaphore?
    var isStopped = false

    init(_ commandQueue: CommandQueue) throws(SystemError) {
        var poller = try Poller()
        // No session gets the highest slot; it stands for the command queue.
        let token = try poller.add(commandQueue.wakeup, slot: 1 << Int(Poller.slotBits) - 1, .read)
        let readBuffer = try allocate(LoopContext.readBufferSize)
        commandToken = token
        context = LoopContext(poller, commandQueue, adopting: readBuffer)
    }

    /// See `LoopContext.isStreaming`.
    var isStreaming: Bool { context.isStreaming }

    /// Whether the loop must run soon although no event or deadline will come.
    var hasWork: Bool { !context.coalescing.isEmpty || !context.unfinished.isEmpty || hasCommands || hasEvents }

    /// To be called when nobody will run the loop, and a script waits for its epoll descriptor: makes the descriptor readable
    /// whenever there is work, which epoll knows only a part of.
    mutating func signalWork() {
        if let deadline = context.deadlines.next { context.poller.setTimer(deadline) }
        if !context.commandQueue.prepareToWait() || hasWork { context.commandQueue.wake() }
    }

    /// Time at which the last wait ended.
    var now: Nanoseconds { context.now }

    private var hasCommands: Bool { executedCommands < commands.count }
    private var hasEvents: Bool { handledEvents < events }

    /// One turn: waits for events, until `limit` at the latest or a signal that is not in `mask`, and handles them, then
    /// unfinished sockets, commands, coalesced writes and deadlines.
    /// - Parameter forScript: whether a script waits in `poll` meanwhile.
    mutating func runOnce(
        until limit: Nanoseconds?, _ mask: UnsafePointer<sigset_t>? = nil, forScript: Bool = false
    ) -> Outcome {
        guard context.poller.isIntact() else { return .failed(SystemError("epoll_wait", EBADF)) }
        // A command may already have published the event that the caller waits for; then the turn must not wait.
        let hasExecuted = (hasCommands || context.commandQueue.hasCommands) && executeFirst()
        guard !isStopped else { return .stopped }
        var deadline = earlier(context.deadlines.next, limit)
        if !context.coalescing.isEmpty {
            // While a script waits in `poll` no write is delayed.
            deadline = earlier(deadline, forScript ? 0 : context.now + Coalescing.delay)
        }
        let unfinished = context.unfinished.count
        // A turn that does not wait needs no wake-up.
        let isQueueEmpty = hasEvents ? !context.commandQueue.hasCommands : context.commandQueue.prepareToWait()
        if !isQueueEmpty || hasExecuted || unfinished > 0 { deadline = 0 }
        var isInterrupted = false
        if hasEvents {
            context.now = WebSocketEngine.now()
        } else {
            let count = wait(until: deadline, mask)
            if count == Poller.waitFailed { return .failed(SystemError("epoll_wait", EBADF)) }
            isInterrupted = count < 0
            events = max(count, 0)
            handledEvents = 0
        }
        // From here to the end of the turn a fork of the host waits: a child must not inherit a lock of Swift's runtime that
        // the turn has taken (Forks.c).
        ws_begin_turn()
        defer { ws_end_turn() }
        let isFull = events == Poller.maxEvents
        context.isStreaming = false
        let isSignalled = handleEvents()
        if unfinished > 0 { resume(unfinished) }
        context.commandQueue.didWake(signalled: isSignalled)
        if context.commandQueue.hasCommands { _ = execute() }
        if !context.coalescing.isEmpty { flushCoalescing() }
        // Handle sockets before deadlines: after SIGSTOP and SIGCONT both are due, and data that arrived in time must win.
        // A signal, a full batch or a used-up slice leaves sockets unread; then deadlines wait, for 64 turns at most. So does a
        // stop that came between the end of the wait and the look at the clock.
        let isDue = context.deadlines.isDue(context.now)
        let wasHeld = isDue && context.now - Self.longestHold > max(deadline ?? context.now, context.poller.checkedAt)
        let hasUnreadSockets = isInterrupted || isFull || hasEvents || !context.unfinished.isEmpty || wasHeld
        turnsWithUnreadSockets = hasUnreadSockets ? turnsWithUnreadSockets + 1 : 0
        if isDue, turnsWithUnreadSockets == 0 || turnsWithUnreadSockets > Self.maxTurnsWithUnreadSockets {
            runExpiredDeadlines()
        }
        return isStopped ? .stopped : isInterrupted ? .interrupted : .ran
    }

    /// Handles the events of the last wait within a time slice. Returns whether the command queue's wake-up was among them.
    @inline(__always)
    private mutating func handleEvents() -> Bool {
        var isSignalled = false
        var slice = TimeSlice()
        while handledEvents < events {
            let readiness = context.poller.readiness(at: handledEvents)
            handledEvents += 1
            if readiness.token == commandToken {
                isSignalled = true
            } else {
                let slot = Poller.slot(of: readiness.token)
                context.wasBrief = false
                if !withSession(at: slot, { $0.ready(readiness, &$1) }) { accept(readiness.token, at: slot) }
                // Reading the clock takes about as long as parsing a small message.
                let skipsClock = context.wasBrief && handledEvents % 8 != 0
                if handledEvents < events, !skipsClock, slice.isUsedUp() { break }
            }
        }
        return isSignalled
    }

    private mutating func runExpiredDeadlines() {
        var slice = TimeSlice()
        // No more than there were before this pass. A deadline that is set in it and due at once, as with `pongtimeout` 0,
        // waits for the next turn, which handles sockets first.
        for _ in 0..<context.deadlines.count {
            guard let slot = context.deadlines.popExpired(context.now) else { break }
            if !withSession(at: slot, { $0.timeout(&$1) }) { withListener(at: slot) { $0.timeout(&$1) } }
            if slice.isUsedUp() { break }
        }
    }

    /// Executes commands before the wait.
    @inline(never)
    private mutating func executeFirst() -> Bool {
        ws_begin_turn()
        defer { ws_end_turn() }
        return execute()
    }

    /// Waits for events as `Poller.wait` does, and reads the clock.
    @inline(__always)
    private mutating func wait(until deadline: Nanoseconds?, _ mask: UnsafePointer<sigset_t>?) -> Int {
        let count = context.poller.wait(until: deadline, mask)
        context.now = WebSocketEngine.now()
        context.poller.noteTime(context.now)
        return count
    }

    /// Gives the first `count` unfinished sockets another turn, within a time slice. Sockets that are added meanwhile wait
    /// for the next turn.
    private mutating func resume(_ count: Int) {
        var slice = TimeSlice()
        var resumed = 0
        repeat {
            let token = context.unfinished[resumed]
            resumed += 1
            withSession(at: Poller.slot(of: token)) { $0.ready(.requestedTurn(token), &$1) }
        } while resumed < count && !slice.isUsedUp()
        context.unfinished.removeFirst(resumed)
    }

    private mutating func flushCoalescing() {
        let count = context.coalescing.count
        var slice = TimeSlice()
        var flushed = 0
        repeat {
            let slot = Poller.slot(of: context.coalescing[flushed])
            flushed += 1
            withSession(at: slot) { $0.flush(&$1) }
        } while flushed < count && !slice.isUsedUp()
        context.coalescing.removeFirst(flushed)
    }

    /// `dropAll` as a turn of its own. Engine calls it between two turns.
    mutating func stop() {
        ws_begin_turn()
        defer { ws_end_turn() }
        dropAll()
    }

    /// Stops the loop and frees all sessions without an event, within a turn. Closing the send queues first keeps Lua's threads from
    /// writing to the closed sockets.
    mutating func dropAll() {
        isStopped = true
        stopListening()
        for session in sessions { session?.websocket.sendQueue.withLock { _ = $0.close() } }
        sessions.removeAll()
        slots.removeAll()
    }

    /// The slot of the websocket's session. Makes the session if there is none.
    mutating func slot(of websocket: WebSocket) -> Int {
        if let slot = slots[ObjectIdentifier(websocket)] { return slot }
        let slot = newSlot()
        add(Session(websocket, slot: slot))
        return slot
    }

    mutating func newSlot() -> Int {
        if let slot = freeSlots.popLast() { return slot }
        sessions.append(nil)
        return sessions.count - 1
    }

    mutating func add(_ session: Session) {
        sessions[session.slot] = session
        slots[ObjectIdentifier(session.websocket)] = session.slot
    }

    /// Calls `body` with the session; then schedules its next deadline, or frees it when it is over. False if there is none.
    @inline(__always) @discardableResult
    mutating func withSession(at slot: Int, _ body: (Session, inout LoopContext) -> Void) -> Bool {
        // `body` and `schedule` never touch `sessions`, so the array's reference keeps the session alive: no retain.
        let session = sessions.withUnsafeBufferPointer { sessions in
            slot < sessions.count ? sessions[slot].map { Unmanaged.passUnretained($0) } : nil
        }
        guard let session else { return false }
        let isOver = session._withUnsafeGuaranteedRef { session in
            body(session, &context)
            session.schedule(&context)
            return session.isOver
        }
        assert(context.records.isEmpty, "a session has published its records before another works")
        if isOver { free(slot) }
        return true
    }

    @inline(never)
    private mutating func free(_ slot: Int) {
        guard let session = sessions[slot] else { return }
        sessions[slot] = nil
        slots[ObjectIdentifier(session.websocket)] = nil
        freeSlots.append(slot)
        if let server = session.websocket.server { connectionEnded(server) }
        if slots.isEmpty { shutdownSignal?.signal() }
    }
}
