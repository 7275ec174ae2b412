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

    private let mailbox: Mailbox
    /// Whoever holds it runs the loop.
    private let loop: Mutex<Loop>
    private let turns: Turns
    private let isLeaving = Atomic(false)

    private init() throws(SystemError) {
        turns = try Turns()
        mailbox = try Mailbox(turns)
        loop = Mutex(try Loop(mailbox))
    }

    /// Calls `body` with the engine, if anything was ever connected in this process.
    @inline(__always) @discardableResult
    static func withCurrent<Result>(_ body: (Engine) -> Result) -> Result? {
        // It lives as long as the process: nothing is counted.
        latest.load(ordering: .acquiring)?._withUnsafeGuaranteedRef { engine in
            engine.generation == Fork.generation ? body(engine) : nil
        }
    }

    static func running() throws(SystemError) -> Engine {
        if let current = withCurrent({ $0 }) { return current }
        // Which keeps other threads from making one, too.
        return try Fork.held { () throws(SystemError) -> Engine in
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

    /// The engine's thread.
    private func run() {
        while true {
            let isHalted = loop.withLock { loop in
                // A Lua thread may have come first.
                while !turns.areLent {
                    let limit = turns.isStreaming ? loop.now + Self.pause : nil
                    if loop.turn(until: limit) == .halted { return true }
                    turns.isStreaming = loop.isStreaming
                }
                return false
            }
            if isHalted { return }
            turns.awaitReturn()
        }
    }

    /// Runs the loop on the calling thread, until something is queued for its Lua state, a signal arrives (one that
    /// is not in `mask`, if there is a mask), or the time is over. False when another thread runs the loop.
    func serve(_ queue: EventQueue, until limit: Nanoseconds, _ mask: UnsafePointer<sigset_t>?) -> Bool {
        guard turns.borrow() else { return false }
        let (time, isStreaming, isLingering) = loop.withLock(ifTaken: { mailbox.wake() }) { loop in
            // The engine's thread may have queued something until now.
            while queue.isEmpty {
                guard case .turned = loop.turn(until: limit, mask, forScript: true), loop.now < limit else { break }
            }
            return (loop.now, loop.isStreaming, loop.isLingering)
        }
        turns.giveBack(at: time, streaming: isStreaming, lingering: isLingering)
        // It came as we left, and whoever posted it saw the loop in good hands.
        if mailbox.hasMail { turns.hurry() }
        return true
    }

    /// The calling thread waits for what comes of the loop: the engine's takes it back at once.
    func sleeping(_ body: () -> Void) { turns.sleeping(body) }

    /// At the end of the process: what was sent gets so long to leave, then the engine does nothing any more.
    /// It must be through before others take apart what it uses, OpenSSL above all.
    public static func leave(seconds: Double) {
        guard let engine = withCurrent({ $0 }), !engine.isLeaving.exchange(true, ordering: .relaxed) else { return }
        let deadline = DispatchTime.now() + seconds
        let done = DispatchSemaphore(value: 0)
        engine.post(.leave(done))
        engine.sleeping { _ = done.wait(timeout: deadline) }
        let halted = DispatchSemaphore(value: 0)
        engine.post(.halt(halted))
        // At once, unless the loop is at work; it never works long.
        engine.sleeping { _ = halted.wait(timeout: max(deadline, .now() + 0.1)) }
        _ = TLSContexts.making.wait(timeout: deadline)
    }

    func post(_ command: Command) { mailbox.post(command) }
}
