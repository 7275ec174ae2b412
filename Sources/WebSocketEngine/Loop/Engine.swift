// The engine of the process: owns the loop, its lock, and the command queue. The first connect makes it and starts the loop
// thread; a forked child makes its own. Called on Lua's threads, by WebSocket, EventQueue and, at the end of the process,
// Bridge and OpenSSL; the loop thread executes `run`. While a script waits in `poll`, its thread runs the loop.

import CLinux
import Dispatch
import Glibc
import Synchronization

public final class Engine: Sendable {
    /// The engine that was made last; nil before the first connect, after it failed, and at the end of the process.
    private static let current = Atomic<Unmanaged<Engine>?>(nil)
    /// All engines that this process has made, since none is freed: a script's thread may be in one that has failed. Locked while
    /// an engine is made.
    private static let all = Mutex<[Engine]>([])
    /// Set at the end of the process: no engine is made any more.
    private static let isProcessEnding = Atomic(false)
    /// Nanoseconds without an event after which the loop thread takes a stream for ended.
    private static let streamPause = Nanoseconds(seconds: 0.001)
    /// Seconds that sent messages have to leave when a Lua state closes or the process ends.
    public static let farewell = 1.0
    private static let likelyCause = "has the host closed its descriptors?"

    private let generation = Fork.generation
    private let commandQueue: CommandQueue
    /// The thread that holds the lock runs the loop.
    private let loop: Mutex<Loop>
    /// The loop's epoll descriptor.
    private let epoll: Int32
    let ownership: LoopOwnership
    private let isShuttingDown = Atomic(false)
    /// Event queues of the Lua states that have connected.
    private let queues = Mutex<[EventQueue]>([])
    /// Set when the loop can no longer run.
    private let hasFailed = Atomic(false)

    private init() throws(SystemError) {
        ownership = try LoopOwnership()
        commandQueue = try CommandQueue(ownership)
        let loop = try Loop(commandQueue)
        epoll = loop.context.poller.descriptorNumber
        self.loop = Mutex(loop, level: .outer)
    }

    /// Calls `body` with this process's engine; returns nil if there is none.
    @inline(__always) @discardableResult
    static func withCurrent<Result>(_ body: (Engine) -> Result) -> Result? {
        // An engine is never freed, so no retain is needed.
        current.load(ordering: .acquiring)?._withUnsafeGuaranteedRef { engine in
            engine.generation == Fork.generation ? body(engine) : nil
        }
    }

    /// Returns this process's engine, made if there is none, and registers the queue of a Lua state with it.
    static func startedIfNeeded(for queue: EventQueue) throws(SystemError) -> Engine {
        let engine = try startedIfNeeded()
        engine.queues.withLock { queues in
            if !queues.contains(where: { $0 === queue }) { queues.append(queue) }
        }
        try queue.addLoop(engine.epoll)
        return engine
    }

    private static func startedIfNeeded() throws(SystemError) -> Engine {
        if let engine = withCurrent({ $0 }) { return engine }
        guard !isProcessEnding.load(ordering: .relaxed) else { throw SystemError("the process ends", ECANCELED) }
        return try Fork.whileBlocked { () throws(SystemError) -> Engine in
            try all.withLock { all throws(SystemError) -> Engine in
                if let engine = withCurrent({ $0 }) { return engine }
                let engine = try Engine()
                try LoopThread.start { engine.run() }
                all.append(engine)
                current.store(Unmanaged.passUnretained(engine), ordering: .releasing)
                return engine
            }
        }
    }

    /// A list of the queues that shares no memory with `queues`, because another thread changes that in place as soon as the
    /// reference count of a copy allows it: ThreadSanitizer does not see reference counts.
    private func registeredQueues(where isWanted: (EventQueue) -> Bool = { _ in true }) -> [EventQueue] {
        queues.withLock { $0.filter(isWanted) }
    }

    /// The queue has got a descriptor. Before its first connect the queue is not registered, and the loop has nothing for it.
    func addLoop(to queue: EventQueue) throws(SystemError) {
        if queues.withLock({ $0.contains { $0 === queue } }) { try queue.addLoop(epoll) }
    }

    /// Gives the engine up when the loop cannot run any more, because the host has closed its descriptors. Each live
    /// websocket gets an ERROR, and the next connect makes another engine.
    private func fail(_ error: SystemError) {
        guard !hasFailed.exchange(true, ordering: .sequentiallyConsistent) else { return }
        clearCurrent()
        Fork.whileBlocked {
            let reason = "the engine can't go on: \(error.description); \(Self.likelyCause)"
            for queue in registeredQueues() { queue.endWebsockets(reason) }
        }
    }

    /// To be called after a connect: `fail` may have run before the queue knew the websocket.
    func endWebsocketsIfFailed(_ queue: EventQueue) {
        if hasFailed.load(ordering: .sequentiallyConsistent) {
            queue.removeLoop()
            queue.endWebsockets("the engine has ended; \(Self.likelyCause)")
        }
    }

    // MARK: - The loop thread

    private func run() {
        while true {
            let hasEnded = loop.withLock { runUntilScriptsOwn(&$0) }
            if hasEnded { return }
            guard ownership.waitUntilReclaimable() else { return fail(SystemError("read", EBADF)) }
        }
    }

    /// Runs the loop until a script acquires it. Returns true when the loop must not run any more.
    private func runUntilScriptsOwn(_ loop: inout Loop) -> Bool {
        guard !ownership.belongsToScripts else { return false }
        reportLoop(false)
        while !ownership.belongsToScripts {
            guard !hasFailed.load(ordering: .relaxed) else {
                loop.stop()
                return true
            }
            let limit = ownership.isStreaming ? loop.now + Self.streamPause : nil
            switch loop.runOnce(until: limit) {
            case .ran, .interrupted: ownership.isStreaming = loop.isStreaming
            case .stopped: return true
            case .failed(let error):
                loop.stop()
                fail(error)
                return true
            }
        }
        if reportLoop(true) { loop.signalWork() }
        return false
    }

    /// Has the descriptors of scripts report the loop's work, or not while this thread does it. Returns whether there are any.
    @discardableResult
    private func reportLoop(_ isReported: Bool) -> Bool {
        ws_begin_turn()
        defer { ws_end_turn() }
        let queues = registeredQueues { $0.hasDescriptor }
        for queue in queues { queue.reportLoop(isReported) }
        return !queues.isEmpty
    }

    // MARK: - Scripts' threads

    /// Runs the loop on the calling thread until the queue has events, a signal arrives (with a mask: one that is not in
    /// it), or `limit`. Returns false without waiting when another thread runs the loop.
    func runLoopForScript(_ queue: EventQueue, until limit: Nanoseconds, _ mask: UnsafePointer<sigset_t>?) -> Bool {
        guard ownership.acquireForScript() else { return false }
        var failure: SystemError?
        let state = loop.withLock(ifContended: { commandQueue.wake() }) { loop in
            queue.isRunningLoop.store(true, ordering: .relaxed)
            defer { queue.isRunningLoop.store(false, ordering: .relaxed) }
            // Until now the loop thread may have published events.
            while queue.isEmpty {
                let outcome = loop.runOnce(until: limit, mask, forScript: true)
                if case .failed(let error) = outcome {
                    loop.stop()
                    failure = error
                }
                guard case .ran = outcome, loop.now < limit else { break }
            }
            if queue.hasDescriptor {
                // The loop thread takes the loop at once, but a host's loop would spin until then.
                if loop.isStreaming { reportLoop(false) } else { loop.signalWork() }
            }
            return (loop.now, loop.isStreaming, loop.hasWork)
        }
        guard failure == nil, let (time, isStreaming, hasWork) = state else {
            fail(failure ?? SystemError("write", EBADF))
            // Has the loop thread look at `hasFailed` at once, and end.
            ownership.release(at: now(), streaming: true, hasWork: true)
            return true
        }
        ownership.release(at: time, streaming: isStreaming, hasWork: hasWork)
        // A command posted while this thread still ran the loop has not scheduled a check.
        if commandQueue.hasCommands { ownership.requestWork() }
        return true
    }

    /// A script looks without waiting, and waits in a loop of the host. Runs one turn on the calling thread if no thread runs the
    /// loop and the queue is empty. Else has the loop thread leave the loop to the scripts.
    func runLoopWithoutWaiting(_ queue: EventQueue) {
        if ownership.belongsToScripts {
            if queue.isEmpty { _ = runLoopForScript(queue, until: 0, nil) }
        } else if ownership.acquireForScript() {
            ownership.release(at: now(), streaming: false, hasWork: false)
            if !commandQueue.wake() { fail(SystemError("write", EBADF)) }
        }
    }

    /// Calls `body`, which waits for something that the loop does on another thread.
    func whileWaiting(_ body: () -> Void) { ownership.whileWaiting(body) }

    func post(_ command: Command) {
        if !commandQueue.post(command) { fail(SystemError("write", EBADF)) }
    }

    /// Forgets the queue of a Lua state that has ended.
    func remove(_ queue: EventQueue) { queues.withLock { $0.removeAll { $0 === queue } } }

    // MARK: - The end of the process

    /// Closes all connections, waits up to `seconds` until queued messages are sent, and stops the loop. It must be stopped
    /// before exit handlers free what it uses, OpenSSL above all.
    public static func shutDown(seconds: Double = farewell) {
        guard let engine = withCurrent({ $0 }), !engine.isShuttingDown.exchange(true, ordering: .relaxed) else {
            return
        }
        isProcessEnding.store(true, ordering: .relaxed)
        let deadline = DispatchTime.now() + seconds
        let areAllClosed = DispatchSemaphore(value: 0)
        engine.post(.shutDown(areAllClosed))
        engine.whileWaiting { _ = areAllClosed.wait(timeout: deadline) }
        let hasStopped = DispatchSemaphore(value: 0)
        engine.post(.stopLoop(hasStopped))
        // Usually less than a millisecond: the rest of a turn.
        engine.whileWaiting { _ = hasStopped.wait(timeout: max(deadline, .now() + 0.1)) }
        _ = engine.commandQueue.unfinishedThreads.wait(timeout: deadline)
        // A stopped loop returns at once, so a script on another thread that waits in `poll` would use up its processor.
        engine.clearCurrent()
    }

    /// Has the next connect make another engine.
    private func clearCurrent() {
        for queue in registeredQueues() { queue.removeLoop() }
        let this = Unmanaged.passUnretained(self)
        _ = Self.current.compareExchange(expected: this, desired: nil, ordering: .sequentiallyConsistent)
    }
}
