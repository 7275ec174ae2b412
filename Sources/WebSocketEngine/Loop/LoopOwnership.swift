// Whose turn the loop is: the engine's thread has it unless Lua threads wait. A Lua thread that waits runs the
// loop itself, so that what comes for it needs no other thread; the engine's takes it back when they have left it
// alone for a moment.

import Synchronization

final class LoopOwnership: Sendable {
    /// So long nobody runs the loop after a Lua thread has left it: it will be back, or it computes.
    private static let grace = Nanoseconds(seconds: 0.001)
    /// After so long at most the engine's thread looks whether they come back: the longer, the more often they did. A
    /// look costs more than many rounds of theirs.
    private static let leastPatience = Nanoseconds(seconds: 0.02)
    private static let mostPatience = Nanoseconds(seconds: 0.16)

    /// Whether Lua threads have the loop, or want it.
    private let isLent = Atomic(false)
    /// Whether one runs it.
    private let isRunByScript = Atomic(false)
    /// Whether so much comes in that the engine's thread keeps the loop and reads on while Lua delivers.
    private let streaming = Atomic(false)
    /// When one left it last.
    private let since = Atomic<Nanoseconds>(0)
    /// Lua threads that wait while another runs the loop.
    private let sleepers = Atomic(0)
    private let patience = Atomic(leastPatience)
    /// When the engine's thread looks. It changes together with the alarm.
    private let due = Atomic(Nanoseconds.max)
    private let alarm: TimerDescriptor
    private let setting = Mutex<Void>(())

    init() throws(SystemError) {
        alarm = try TimerDescriptor()
    }

    /// At that time, or before. What is to be seen then stands before this is called: what is due may be due now.
    private func look(at time: Nanoseconds) {
        setting.withLock { _ in
            guard time < due.load(ordering: .relaxed) else { return }
            due.store(time, ordering: .sequentiallyConsistent)
            alarm.set(time)
        }
    }

    private var graceEnds: Nanoseconds { since.load(ordering: .relaxed) + Self.grace }

    // MARK: - Lua's side

    /// False when another thread has it and keeps it.
    func borrow() -> Bool {
        guard !isStreaming, !isRunByScript.exchange(true, ordering: .sequentiallyConsistent) else { return false }
        if !belongsToScripts { isLent.store(true, ordering: .sequentiallyConsistent) }
        return true
    }

    /// - Parameters:
    ///   - streaming: the engine's thread is to go on at once.
    ///   - hasWork: the loop has something to do soon, whether they come back or not.
    func giveBack(at time: Nanoseconds, streaming: Bool, hasWork: Bool) {
        since.store(time, ordering: .relaxed)
        if streaming { isStreaming = true }
        isRunByScript.store(false, ordering: .sequentiallyConsistent)
        if streaming || sleepers.load(ordering: .sequentiallyConsistent) > 0 {
            look(at: time)
        } else if hasWork {
            look(at: graceEnds)
        } else if due.load(ordering: .sequentiallyConsistent) == .max {
            look(at: time + patience.load(ordering: .relaxed))
        }
    }

    func sleeping(_ body: () -> Void) {
        sleepers.add(1, ordering: .sequentiallyConsistent)
        // Whoever ran the loop may have left it before it could know of us.
        if belongsToScripts, !isRunByScript.load(ordering: .sequentiallyConsistent) { look(at: now()) }
        body()
        sleepers.subtract(1, ordering: .sequentiallyConsistent)
    }

    /// There is something to do for the loop.
    func requestWork() {
        guard belongsToScripts, !isRunByScript.load(ordering: .sequentiallyConsistent) else { return }
        let time = graceEnds
        if time < due.load(ordering: .sequentiallyConsistent) { look(at: time) }
    }

    // MARK: - The engine's side

    var isStreaming: Bool {
        get { streaming.load(ordering: .relaxed) }
        set { streaming.store(newValue, ordering: .relaxed) }
    }

    var belongsToScripts: Bool { isLent.load(ordering: .sequentiallyConsistent) }

    /// Waits until the Lua threads have left the loop alone. Returns false when that can't be waited for.
    func waitUntilReclaimable() -> Bool {
        while true {
            guard alarm.await() else { return false }
            setting.withLock { _ in due.store(.max, ordering: .sequentiallyConsistent) }
            // Whoever has it sets the alarm when it leaves.
            guard !isRunByScript.load(ordering: .sequentiallyConsistent) else {
                let longer = patience.load(ordering: .relaxed) * 2
                patience.store(min(longer, Self.mostPatience), ordering: .relaxed)
                continue
            }
            guard now() >= graceEnds || sleepers.load(ordering: .sequentiallyConsistent) > 0 || isStreaming else {
                look(at: graceEnds)
                continue
            }
            isLent.store(false, ordering: .sequentiallyConsistent)
            guard isRunByScript.load(ordering: .sequentiallyConsistent) else {
                patience.store(Self.leastPatience, ordering: .relaxed)
                return true
            }
            // One came at the same moment.
            isLent.store(true, ordering: .sequentiallyConsistent)
        }
    }
}
