// The engine of the process: one loop, started by the first connect, and one thread that runs it unless a Lua
// thread does, which has nothing else to do while it waits. With no websocket it sleeps in epoll_wait. A child of
// fork gets its own.

import CLinux
import Dispatch
import Glibc
import Synchronization

public final class Engine: Sendable {
    /// The latest: from when it is made to the end of the process.
    private static let current = Atomic<Unmanaged<Engine>?>(nil)

    private let generation = Fork.generation
    /// A stream that pauses for so long has ended.
    private static let streamPause = Nanoseconds(seconds: 0.001)

    private let commandQueue: CommandQueue
    /// Whoever holds it runs the loop.
    private let loop: Mutex<Loop>
    private let ownership: LoopOwnership
    private let isShuttingDown = Atomic(false)
    /// Of the Lua states that have connected.
    private let queues = Mutex<[EventQueue]>([])
    /// Whether the loop was given up.
    private let hasFailed = Atomic(false)
    /// Whether the process ends: no engine is made any more.
    private static let isProcessEnding = Atomic(false)
    /// One thread at a time makes an engine.
    private static let creationLock = Mutex<Void>(())

    private init() throws(SystemError) {
        ownership = try LoopOwnership()
        commandQueue = try CommandQueue(ownership)
        loop = Mutex(try Loop(commandQueue))
    }

    /// Calls `body` with the engine, if anything was ever connected in this process.
    @inline(__always) @discardableResult
    static func withCurrent<Result>(_ body: (Engine) -> Result) -> Result? {
        // It lives as long as the process: nothing is counted.
        current.load(ordering: .acquiring)?._withUnsafeGuaranteedRef { engine in
            engine.generation == Fork.generation ? body(engine) : nil
        }
    }

    /// The engine, which is made if there is none, for the websockets of this queue.
    static func startedIfNeeded(for queue: EventQueue) throws(SystemError) -> Engine {
        let engine = try startedIfNeeded()
        engine.queues.withLock { queues in
            if !queues.contains(where: { $0 === queue }) { queues.append(queue) }
        }
        return engine
    }

    private static func startedIfNeeded() throws(SystemError) -> Engine {
        if let engine = withCurrent({ $0 }) { return engine }
        guard !isProcessEnding.load(ordering: .relaxed) else { throw SystemError("the process ends", ECANCELED) }
        return try Fork.whileBlocked { () throws(SystemError) -> Engine in
            try creationLock.withLock { _ throws(SystemError) -> Engine in
                if let engine = withCurrent({ $0 }) { return engine }
                let engine = try Engine()
                try startThread {
                    ws_name_thread("websocket")
                    engine.run()
                }
                current.store(Unmanaged.passRetained(engine), ordering: .releasing)
                return engine
            }
        }
    }

    /// The loop can't go on: its descriptors were closed by the host. Nothing runs it any more, and the next connect makes
    /// another engine. Every websocket of a Lua state gets an ERROR, at once or with that state's next wait.
    private func fail(_ error: SystemError) {
        guard !hasFailed.exchange(true, ordering: .sequentiallyConsistent) else { return }
        clearCurrent()
        let reason = "the engine can't go on: \(error.description); \(Self.likelyCause)"
        for queue in queues.withLock({ $0 }) { queue.endWebsockets(reason) }
    }

    private static let likelyCause = "has the host closed its descriptors?"

    /// For a start that the end of the engine has overtaken.
    func endWebsocketsIfFailed(_ queue: EventQueue) {
        if hasFailed.load(ordering: .sequentiallyConsistent) {
            queue.endWebsockets("the engine has ended; \(Self.likelyCause)")
        }
    }

    /// The engine's thread.
    private func run() {
        while true {
            let isStopped = loop.withLock { loop in
                // A Lua thread may have come first.
                while !ownership.belongsToScripts {
                    guard !hasFailed.load(ordering: .relaxed) else {
                        loop.dropAll()
                        return true
                    }
                    let limit = ownership.isStreaming ? loop.now + Self.streamPause : nil
                    switch loop.runOnce(until: limit) {
                    case .ran, .interrupted: ownership.isStreaming = loop.isStreaming
                    case .stopped: return true
                    case .failed(let error):
                        loop.dropAll()
                        fail(error)
                        return true
                    }
                }
                return false
            }
            if isStopped { return }
            guard ownership.waitUntilReclaimable() else { return fail(SystemError("read", EBADF)) }
        }
    }

    /// Runs the loop on the calling thread, until something is queued for its Lua state, a signal arrives (one that
    /// is not in `mask`, if there is a mask), or the time is over. False when another thread runs the loop.
    func runLoopForScript(_ queue: EventQueue, until limit: Nanoseconds, _ mask: UnsafePointer<sigset_t>?) -> Bool {
        guard ownership.acquireForScript() else { return false }
        var failure: SystemError?
        let state = loop.withLock(ifContended: { commandQueue.wake() }) { loop in
            // The engine's thread may have queued something until now.
            while queue.isEmpty {
                let outcome = loop.runOnce(until: limit, mask, forScript: true)
                if case .failed(let error) = outcome {
                    loop.dropAll()
                    failure = error
                }
                guard case .ran = outcome, loop.now < limit else { break }
            }
            return (loop.now, loop.isStreaming, loop.hasWork)
        }
        guard failure == nil, let (time, isStreaming, hasWork) = state else {
            fail(failure ?? SystemError("eventfd_write", EBADF))
            // The engine's thread comes to its end.
            ownership.release(at: now(), streaming: true, hasWork: true)
            return true
        }
        ownership.release(at: time, streaming: isStreaming, hasWork: hasWork)
        // It came as we left, and whoever posted it saw the loop in good hands.
        if commandQueue.hasCommands { ownership.requestWork() }
        return true
    }

    /// The calling thread waits for what comes of the loop: the engine's takes it back at once.
    func whileWaiting(_ body: () -> Void) { ownership.whileWaiting(body) }

    /// At the end of the process: what was sent gets so long to leave, then the engine does nothing any more.
    /// It must be through before others take apart what it uses, OpenSSL above all.
    public static func shutDown(seconds: Double) {
        guard let engine = withCurrent({ $0 }), !engine.isShuttingDown.exchange(true, ordering: .relaxed) else {
            return
        }
        isProcessEnding.store(true, ordering: .relaxed)
        let deadline = DispatchTime.now() + seconds
        let done = DispatchSemaphore(value: 0)
        engine.post(.shutDown(done))
        engine.whileWaiting { _ = done.wait(timeout: deadline) }
        let stopped = DispatchSemaphore(value: 0)
        engine.post(.stopLoop(stopped))
        // At once, unless the loop is at work; it never works long.
        engine.whileWaiting { _ = stopped.wait(timeout: max(deadline, .now() + 0.1)) }
        _ = TLSContextCache.unfinishedThreads.wait(timeout: deadline)
        // A stopped loop would end another thread's wait at once, again and again.
        engine.clearCurrent()
    }

    /// No thread comes to this engine any more.
    private func clearCurrent() {
        let this = Unmanaged.passUnretained(self)
        _ = Self.current.compareExchange(expected: this, desired: nil, ordering: .sequentiallyConsistent)
    }

    /// The queue's Lua state is gone.
    func remove(_ queue: EventQueue) { queues.withLock { $0.removeAll { $0 === queue } } }

    func post(_ command: Command) {
        if !commandQueue.post(command) { fail(SystemError("eventfd_write", EBADF)) }
    }
}
