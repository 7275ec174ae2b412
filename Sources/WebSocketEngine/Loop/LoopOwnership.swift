// Whose turn the loop is: the engine's thread has it unless Lua threads wait. A Lua thread that waits runs the
// loop itself, so that what comes for it needs no other thread; the engine's takes it back when they have left it
// alone for a moment.

import Synchronization

final class LoopOwnership: Sendable {
    /// So long nobody runs the loop after a Lua thread has left it: it will be back, or it computes.
    private static let idleBeforeReclaim = Nanoseconds(seconds: 0.001)
    /// After so long at most the engine's thread looks whether they come back: the longer, the more often they did. A
    /// look costs more than many rounds of theirs.
    private static let minReclaimDelay = Nanoseconds(seconds: 0.02)
    private static let maxReclaimDelay = Nanoseconds(seconds: 0.16)

    /// Whether Lua threads have the loop, or want it.
    private let ownedByScripts = Atomic(false)
    /// Whether one runs it.
    private let isRunByScript = Atomic(false)
    /// Whether so much comes in that the engine's thread keeps the loop and reads on while Lua delivers.
    private let streaming = Atomic(false)
    /// When one left it last.
    private let releasedAt = Atomic<Nanoseconds>(0)
    /// Lua threads that wait while another runs the loop.
    private let waitingScripts = Atomic(0)
    private let reclaimDelay = Atomic(minReclaimDelay)
    /// When the engine's thread looks. It changes together with the timer.
    private let nextCheck = Atomic(Nanoseconds.max)
    private let timer: TimerDescriptor
    private let timerLock = Mutex<Void>(())

    init() throws(SystemError) {
        timer = try TimerDescriptor()
    }

    /// At that time, or before. What is to be seen then stands before this is called: what is due may be due now.
    private func scheduleCheck(at time: Nanoseconds) {
        timerLock.withLock { _ in
            guard time < nextCheck.load(ordering: .relaxed) else { return }
            nextCheck.store(time, ordering: .sequentiallyConsistent)
            timer.set(time)
        }
    }

    private var earliestReclaim: Nanoseconds { releasedAt.load(ordering: .relaxed) + Self.idleBeforeReclaim }

    // MARK: - Lua's side

    /// False when another thread has it and keeps it.
    func acquireForScript() -> Bool {
        guard !isStreaming, !isRunByScript.exchange(true, ordering: .sequentiallyConsistent) else { return false }
        if !belongsToScripts { ownedByScripts.store(true, ordering: .sequentiallyConsistent) }
        return true
    }

    /// - Parameters:
    ///   - streaming: the engine's thread is to go on at once.
    ///   - hasWork: the loop has something to do soon, whether they come back or not.
    func release(at time: Nanoseconds, streaming: Bool, hasWork: Bool) {
        releasedAt.store(time, ordering: .relaxed)
        if streaming { isStreaming = true }
        isRunByScript.store(false, ordering: .sequentiallyConsistent)
        if streaming || waitingScripts.load(ordering: .sequentiallyConsistent) > 0 {
            scheduleCheck(at: time)
        } else if hasWork {
            scheduleCheck(at: earliestReclaim)
        } else if nextCheck.load(ordering: .sequentiallyConsistent) == .max {
            scheduleCheck(at: time + reclaimDelay.load(ordering: .relaxed))
        }
    }

    func whileWaiting(_ body: () -> Void) {
        waitingScripts.add(1, ordering: .sequentiallyConsistent)
        // Whoever ran the loop may have left it before it could know of us.
        if belongsToScripts, !isRunByScript.load(ordering: .sequentiallyConsistent) { scheduleCheck(at: now()) }
        body()
        waitingScripts.subtract(1, ordering: .sequentiallyConsistent)
    }

    /// There is something to do for the loop.
    func requestWork() {
        guard belongsToScripts, !isRunByScript.load(ordering: .sequentiallyConsistent) else { return }
        let time = earliestReclaim
        if time < nextCheck.load(ordering: .sequentiallyConsistent) { scheduleCheck(at: time) }
    }

    // MARK: - The engine's side

    var isStreaming: Bool {
        get { streaming.load(ordering: .relaxed) }
        set { streaming.store(newValue, ordering: .relaxed) }
    }

    var belongsToScripts: Bool { ownedByScripts.load(ordering: .sequentiallyConsistent) }

    /// Waits until the Lua threads have left the loop alone. Returns false when that can't be waited for.
    func waitUntilReclaimable() -> Bool {
        while true {
            guard timer.waitUntilFired() else { return false }
            timerLock.withLock { _ in nextCheck.store(.max, ordering: .sequentiallyConsistent) }
            // Whoever has it sets the alarm when it leaves.
            guard !isRunByScript.load(ordering: .sequentiallyConsistent) else {
                let longer = reclaimDelay.load(ordering: .relaxed) * 2
                reclaimDelay.store(min(longer, Self.maxReclaimDelay), ordering: .relaxed)
                continue
            }
            guard now() >= earliestReclaim || waitingScripts.load(ordering: .sequentiallyConsistent) > 0 || isStreaming
            else {
                scheduleCheck(at: earliestReclaim)
                continue
            }
            ownedByScripts.store(false, ordering: .sequentiallyConsistent)
            guard isRunByScript.load(ordering: .sequentiallyConsistent) else {
                reclaimDelay.store(Self.minReclaimDelay, ordering: .relaxed)
                return true
            }
            // One came at the same moment.
            ownedByScripts.store(true, ordering: .sequentiallyConsistent)
        }
    }
}
