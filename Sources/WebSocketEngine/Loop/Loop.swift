// The event loop: waits for sockets, commands and deadlines, and hands each to the session that it belongs
// to. What the sessions need of it is the loop.

import Dispatch
import Glibc
import WebSocketProtocol

/// What a turn of the loop lends to the sessions.
struct LoopContext: ~Copyable {
    var poller: Poller
    var deadlines = DeadlineHeap()
    var random = RandomPool()
    /// Sockets that have had their turn and may have more to do, of which no readiness will tell.
    var unfinished: [Poller.Token] = []
    /// Whether some socket gave so much in this turn, and has more to come, that it pays to go on with it while Lua
    /// delivers.
    var isStreaming = false
    /// Sockets whose scripts send so much that more is awaited before the next write.
    var coalescing: [Poller.Token] = []
    /// Events of the session at work, not published yet.
    var records = EventRecords()
    /// Whether the process ends: nothing is begun any more.
    var isShuttingDown = false
    /// When this turn's wait ended.
    var now = WebSocketEngine.now()
    let commandQueue: CommandQueue
    var resolver = Resolver()
    var tlsContexts = TLSContextCache()
    /// What a read goes to, unless it goes straight to where it belongs: one for all sockets.
    let readBuffer: UnsafeMutableRawBufferPointer

    init(_ poller: consuming Poller, _ commandQueue: CommandQueue, readBufferSize: Int = 256 << 10) {
        self.poller = poller
        self.commandQueue = commandQueue
        readBuffer = .allocate(byteCount: readBufferSize, alignment: 64)
    }

    deinit { readBuffer.deallocate() }
}

struct Loop: ~Copyable {
    var context: LoopContext
    var sessions: [Session?] = []
    private var free: [Int] = []
    var slots: [ObjectIdentifier: Int] = [:]
    /// Commands that were taken from the commandQueue, and how many of them were obeyed.
    var commands: [Command] = []
    var executedCommands = 0
    /// Events of the last wait, and how many of them were handled: the rest comes in the next turn, without a wait.
    private var events = 0
    private var handledEvents = 0
    private let commandToken: Poller.Token
    private var spin = SpinPolicy()
    /// So long at most what lingers does, or not at all while a script waits.
    /// Nanoseconds after which each part of a turn (new events, unfinished sockets, commands, deadlines) leaves the rest to
    /// the next turn, so that a socket that becomes ready waits for no more than one share of each.
    static let timeSlice = Nanoseconds(seconds: 0.001)
    /// LoopOwnership in a row after which some sockets may still be unread.
    private var turnsWithUnreadSockets = 0
    private static let maxTurnsWithUnreadSockets = 64
    /// Signalled when the last session has ended.
    var shutdownSignal: DispatchSemaphore?
    var isStopped = false

    init(_ commandQueue: CommandQueue) throws(SystemError) {
        var poller = try Poller()
        // No session has the highest slot: it stands for the commandQueue.
        commandToken = try poller.add(commandQueue.wakeup, slot: 1 << Int(Poller.slotBits) - 1, .read)
        context = LoopContext(poller, commandQueue)
    }

    enum Outcome {
        case ran
        /// A signal came.
        case interrupted
        /// It was the last turn.
        case stopped
        /// The loop can't wait any more: its descriptors are gone.
        case failed(SystemError)
    }

    /// Whether there is more to read than Lua should wait for.
    var isStreaming: Bool { context.isStreaming }

    /// Whether something is to be done soon, though no event will tell.
    var hasWork: Bool { !context.coalescing.isEmpty || !context.unfinished.isEmpty || hasCommands || hasEvents }

    /// When the last wait ended.
    var now: Nanoseconds { context.now }

    private var hasCommands: Bool { executedCommands < commands.count }
    private var hasEvents: Bool { handledEvents < events }

    /// Waits for the next things to do, until `limit` at most or a signal that is not in `mask`, and does them.
    /// - Parameter forScript: whether a script waits meanwhile.
    mutating func runOnce(
        until limit: Nanoseconds?, _ mask: UnsafePointer<sigset_t>? = nil, forScript: Bool = false
    ) -> Outcome {
        // What the commands came to may be all that the thread waits for.
        let hasExecuted = (hasCommands || context.commandQueue.hasCommands) && execute()
        guard !isStopped else { return .stopped }
        var deadline = earlier(context.deadlines.next, limit)
        if !context.coalescing.isEmpty {
            deadline = earlier(deadline, forScript ? 0 : context.now + Coalescing.delay)
        }
        let unfinished = context.unfinished.count
        let isQueueEmpty = context.commandQueue.prepareToWait()
        if !isQueueEmpty || hasExecuted || unfinished > 0 { deadline = 0 }
        var isInterrupted = false
        if hasEvents {
            context.now = WebSocketEngine.now()
        } else {
            let count = wait(until: deadline, mask, forScript: forScript)
            if count == Poller.waitFailed { return .failed(SystemError("epoll_wait", EBADF)) }
            isInterrupted = count < 0
            events = max(count, 0)
            handledEvents = 0
        }
        let isFull = events == Poller.maxEvents
        context.isStreaming = false
        let isSignalled = handleEvents()
        if unfinished > 0 { resume(unfinished) }
        context.commandQueue.didWake(signalled: isSignalled)
        if context.commandQueue.hasCommands { _ = execute() }
        if !context.coalescing.isEmpty { flushCoalescing() }
        // Handle sockets before deadlines: after SIGSTOP and SIGCONT both are due, and data that arrived in time must win.
        // A signal, a full batch or a spent share leaves sockets unread, so deadlines wait, but not for ever.
        let hasUnreadSockets = isInterrupted || isFull || hasEvents || !context.unfinished.isEmpty
        turnsWithUnreadSockets = hasUnreadSockets ? turnsWithUnreadSockets + 1 : 0
        if turnsWithUnreadSockets == 0 || turnsWithUnreadSockets > Self.maxTurnsWithUnreadSockets,
            context.deadlines.isDue(context.now)
        {
            runExpiredDeadlines()
        }
        return isStopped ? .stopped : isInterrupted ? .interrupted : .ran
    }

    /// Lets the sockets of a wait work, as far as the time goes. Returns whether the commandQueue's descriptor was among them.
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
                withSession(at: Poller.slot(of: readiness.token)) { $0.ready(readiness, &$1) }
                if handledEvents < events, slice.isUsedUp() { break }
            }
        }
        return isSignalled
    }

    private mutating func runExpiredDeadlines() {
        var slice = TimeSlice()
        // Not those that are added meanwhile: commands and sockets get their turn even if each is due at once.
        for _ in 0..<context.deadlines.count {
            guard let slot = context.deadlines.popExpired(context.now) else { break }
            withSession(at: slot) { $0.timeout(&$1) }
            if slice.isUsedUp() { break }
        }
    }

    /// As the poller's: but for a script it looks again and again for a moment first, if that pays.
    private mutating func wait(until deadline: Nanoseconds?, _ mask: UnsafePointer<sigset_t>?, forScript: Bool) -> Int {
        let before = context.now
        defer { context.poller.noteTime(context.now) }
        if forScript, deadline != 0, spin.shouldSpin {
            let begin = WebSocketEngine.now()
            repeat {
                let count = context.poller.wait(until: 0, mask)
                context.now = WebSocketEngine.now()
                if count != 0 {
                    spin.didSpin(foundEvent: count > 0)
                    return count
                }
            } while context.now - begin < SpinPolicy.longestSpin
            spin.didSpin(foundEvent: false)
        }
        let count = context.poller.wait(until: deadline, mask)
        context.now = WebSocketEngine.now()
        if forScript, deadline != 0, count > 0 { spin.didSleep(for: context.now - before) }
        return count
    }

    /// Gives the first `count` unfinished sockets another turn, as far as the time goes. Sockets that are added meanwhile
    /// wait for the next turn.
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

    /// Lets go of all sessions without an event; no turn follows. Their sockets are closed: nobody may write to them.
    mutating func dropAll() {
        isStopped = true
        for session in sessions { session?.websocket.sendQueue.withLock { _ = $0.close() } }
        sessions.removeAll()
        slots.removeAll()
    }

    /// The slot of a websocket's session, which is made when there is none.
    mutating func slot(of socket: WebSocket) -> Int {
        if let slot = slots[ObjectIdentifier(socket)] { return slot }
        let slot = free.popLast() ?? sessions.count
        if slot == sessions.count { sessions.append(nil) }
        sessions[slot] = Session(socket, slot: slot)
        slots[ObjectIdentifier(socket)] = slot
        return slot
    }

    /// Lets a session work, then sees to its next deadline or forgets it.
    @inline(__always)
    mutating func withSession(at slot: Int, _ body: (Session, inout LoopContext) -> Void) {
        // `body` and `schedule` never touch `sessions`, so the array's reference keeps the session alive: no retain.
        let session = sessions.withUnsafeBufferPointer { sessions in
            slot < sessions.count ? sessions[slot].map { Unmanaged.passUnretained($0) } : nil
        }
        guard let session else { return }
        let isOver = session._withUnsafeGuaranteedRef { session in
            body(session, &context)
            session.schedule(&context)
            return session.isOver
        }
        guard isOver, let session = sessions[slot] else { return }
        sessions[slot] = nil
        slots[ObjectIdentifier(session.websocket)] = nil
        free.append(slot)
        if slots.isEmpty { shutdownSignal?.signal() }
    }
}

/// The time that one part of a turn may take; begins when it is made.
struct TimeSlice {
    private var end: Nanoseconds?

    /// Looks at the clock, but not the first time: most parts have one thing to do.
    mutating func isUsedUp() -> Bool {
        guard let end else {
            end = now() + Loop.timeSlice
            return false
        }
        return now() >= end
    }
}
