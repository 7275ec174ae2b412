// The engine of the process: one loop, started by the first connect, and one thread that runs it unless a Lua
// thread does, which has nothing else to do while it waits. With no websocket it sleeps in epoll_wait. A child of
// fork gets its own.

import CLinux
import Dispatch
import Glibc
import Synchronization

public final class Engine: Sendable {
    /// The latest: from when it is made to the end of the process.
    private static let latest = Atomic<Unmanaged<Engine>?>(nil)

    private let generation = Fork.generation
    /// A stream that pauses for so long has ended.
    private static let pause = Nanoseconds(seconds: 0.001)

    private let commandQueue: CommandQueue
    /// Whoever holds it runs the loop.
    private let loop: Mutex<Loop>
    private let ownership: LoopOwnership
    private let isLeaving = Atomic(false)
    /// Of the Lua states that have connected.
    private let queues = Mutex<[EventQueue]>([])
    /// Whether the loop was given up.
    private let hasEnded = Atomic(false)
    /// Whether the process ends: no engine is made any more.
    private static let isOver = Atomic(false)
    /// One thread at a time makes an engine.
    private static let making = Mutex<Void>(())

    private init() throws(SystemError) {
        ownership = try LoopOwnership()
        commandQueue = try CommandQueue(ownership)
        loop = Mutex(try Loop(commandQueue))
    }

    /// Calls `body` with the engine, if anything was ever connected in this process.
    @inline(__always) @discardableResult
    static func withCurrent<Result>(_ body: (Engine) -> Result) -> Result? {
        // It lives as long as the process: nothing is counted.
        latest.load(ordering: .acquiring)?._withUnsafeGuaranteedRef { engine in
            engine.generation == Fork.generation ? body(engine) : nil
        }
    }

    /// The engine, which is made if there is none, for the websockets of this queue.
    static func running(for queue: EventQueue) throws(SystemError) -> Engine {
        let engine = try running()
        engine.queues.withLock { queues in
            if !queues.contains(where: { $0 === queue }) { queues.append(queue) }
        }
        return engine
    }

    private static func running() throws(SystemError) -> Engine {
        if let current = withCurrent({ $0 }) { return current }
        guard !isOver.load(ordering: .relaxed) else { throw SystemError("the process ends", ECANCELED) }
        return try Fork.whileBlocked { () throws(SystemError) -> Engine in
            try making.withLock { _ throws(SystemError) -> Engine in
                if let current = withCurrent({ $0 }) { return current }
                let engine = try Engine()
                try onThread {
                    ws_name_thread("websocket")
                    engine.run()
                }
                latest.store(Unmanaged.passRetained(engine), ordering: .releasing)
                return engine
            }
        }
    }

    /// The loop can't go on: its descriptors were closed by the host. Nothing runs it any more, and the next connect makes
    /// another engine. Every websocket of a Lua state gets an ERROR, at once or with that state's next wait.
    private func end(_ error: SystemError) {
        guard !hasEnded.exchange(true, ordering: .sequentiallyConsistent) else { return }
        forget()
        let reason = "the engine can't go on: \(error.description); \(Self.guess)"
        for queue in queues.withLock({ $0 }) { queue.endWebsockets(reason) }
    }

    private static let guess = "has the host closed its descriptors?"

    /// For a start that the end of the engine has overtaken.
    func endIfLate(_ queue: EventQueue) {
        if hasEnded.load(ordering: .sequentiallyConsistent) {
            queue.endWebsockets("the engine has ended; \(Self.guess)")
        }
    }

    /// The engine's thread.
    private func run() {
        while true {
            let isHalted = loop.withLock { loop in
                // A Lua thread may have come first.
                while !ownership.belongsToScripts {
                    guard !hasEnded.load(ordering: .relaxed) else {
                        loop.dropAll()
                        return true
                    }
                    let limit = ownership.isStreaming ? loop.now + Self.pause : nil
                    switch loop.turn(until: limit) {
                    case .turned, .interrupted: ownership.isStreaming = loop.isStreaming
                    case .halted: return true
                    case .broken(let error):
                        loop.dropAll()
                        end(error)
                        return true
                    }
                }
                return false
            }
            if isHalted { return }
            guard ownership.waitUntilReclaimable() else { return end(SystemError("read", EBADF)) }
        }
    }

    /// Runs the loop on the calling thread, until something is queued for its Lua state, a signal arrives (one that
    /// is not in `mask`, if there is a mask), or the time is over. False when another thread runs the loop.
    func serve(_ queue: EventQueue, until limit: Nanoseconds, _ mask: UnsafePointer<sigset_t>?) -> Bool {
        guard ownership.borrow() else { return false }
        var failure: SystemError?
        let state = loop.withLock(ifTaken: { commandQueue.wake() }) { loop in
            // The engine's thread may have queued something until now.
            while queue.isEmpty {
                let outcome = loop.turn(until: limit, mask, forScript: true)
                if case .broken(let error) = outcome {
                    loop.dropAll()
                    failure = error
                }
                guard case .turned = outcome, loop.now < limit else { break }
            }
            return (loop.now, loop.isStreaming, loop.hasWork)
        }
        guard failure == nil, let (time, isStreaming, hasWork) = state else {
            end(failure ?? SystemError("eventfd_write", EBADF))
            // The engine's thread comes to its end.
            ownership.giveBack(at: now(), streaming: true, hasWork: true)
            return true
        }
        ownership.giveBack(at: time, streaming: isStreaming, hasWork: hasWork)
        // It came as we left, and whoever posted it saw the loop in good hands.
        if commandQueue.hasCommands { ownership.requestWork() }
        return true
    }

    /// The calling thread waits for what comes of the loop: the engine's takes it back at once.
    func sleeping(_ body: () -> Void) { ownership.sleeping(body) }

    /// At the end of the process: what was sent gets so long to leave, then the engine does nothing any more.
    /// It must be through before others take apart what it uses, OpenSSL above all.
    public static func leave(seconds: Double) {
        guard let engine = withCurrent({ $0 }), !engine.isLeaving.exchange(true, ordering: .relaxed) else { return }
        isOver.store(true, ordering: .relaxed)
        let deadline = DispatchTime.now() + seconds
        let done = DispatchSemaphore(value: 0)
        engine.post(.leave(done))
        engine.sleeping { _ = done.wait(timeout: deadline) }
        let halted = DispatchSemaphore(value: 0)
        engine.post(.halt(halted))
        // At once, unless the loop is at work; it never works long.
        engine.sleeping { _ = halted.wait(timeout: max(deadline, .now() + 0.1)) }
        _ = TLSContextCache.making.wait(timeout: deadline)
        // A halted loop would end another thread's wait at once, again and again.
        engine.forget()
    }

    /// No thread comes to this engine any more.
    private func forget() {
        let this = Unmanaged.passUnretained(self)
        _ = Self.latest.compareExchange(expected: this, desired: nil, ordering: .sequentiallyConsistent)
    }

    /// The queue's Lua state is gone.
    func leave(_ queue: EventQueue) { queues.withLock { $0.removeAll { $0 === queue } } }

    func post(_ command: Command) {
        if !commandQueue.post(command) { end(SystemError("eventfd_write", EBADF)) }
    }
}
