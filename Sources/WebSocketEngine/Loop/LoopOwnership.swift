// Decides which thread runs the loop: a script's thread while it waits in `poll`, else the loop thread. A script that runs the
// loop itself gets its answer without a thread switch. The loop thread reclaims the loop when scripts have left it unused.
// Called by Engine and CommandQueue, on all threads.

import Synchronization

final class LoopOwnership: Sendable {
    /// After a script releases the loop, nobody runs it for this long: the script will probably poll again at once.
    private static let idleBeforeReclaim = Nanoseconds(seconds: 0.001)
    /// Time after which the loop thread reclaims an unused loop that has nothing to do. It doubles, up to the maximum, each
    /// time the loop thread finds the loop in use by a script: waking it costs more than many round trips.
    private static let minReclaimDelay = Nanoseconds(seconds: 0.02)
    private static let maxReclaimDelay = Nanoseconds(seconds: 0.16)

    /// True from a script's `acquireForScript` until the loop thread reclaims the loop.
    private let ownedByScripts = Atomic(false)
    private let isRunByScript = Atomic(false)
    private let streaming = Atomic(false)
    /// Time at which a script last released the loop.
    private let releasedAt = Atomic<Nanoseconds>(0)
    /// Number of threads that wait while another thread runs the loop.
    private let waitingScripts = Atomic(0)
    private let reclaimDelay = Atomic(minReclaimDelay)
    /// Whether the loop must run soon even if no script polls.
    private let hasWork = Atomic(false)
    /// Time of the loop thread's next check; `max` when none is scheduled. Written together with `timer`, under `timerLock`.
    private let nextCheck = Atomic(Nanoseconds.max)
    private let timer: TimerDescriptor
    private let timerLock = Mutex<Void>(())

    init() throws(SystemError) {
        timer = try TimerDescriptor()
    }

    /// Schedules a check no later than `time`. Store the state that the check reads before calling this: the check may run
    /// immediately.
    private func scheduleCheck(at time: Nanoseconds) {
        timerLock.withLock { _ in
            guard time < nextCheck.load(ordering: .relaxed) else { return }
            nextCheck.store(time, ordering: .sequentiallyConsistent)
            timer.set(time)
        }
    }

    private var earliestReclaim: Nanoseconds { releasedAt.load(ordering: .relaxed) + Self.idleBeforeReclaim }

    // MARK: - Scripts' threads

    /// Returns false when another thread runs the loop and keeps it.
    func acquireForScript() -> Bool {
        guard !isStreaming, !isRunByScript.exchange(true, ordering: .sequentiallyConsistent) else { return false }
        if !belongsToScripts { ownedByScripts.store(true, ordering: .sequentiallyConsistent) }
        return true
    }

    /// - Parameters:
    ///   - streaming: the loop thread is to reclaim the loop at once.
    ///   - hasWork: the loop must run soon even if no script polls, for a coalesced write for example.
    func release(at time: Nanoseconds, streaming: Bool, hasWork: Bool) {
        releasedAt.store(time, ordering: .relaxed)
        self.hasWork.store(hasWork, ordering: .relaxed)
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

    /// Calls `body`, which waits for something that the loop does. Meanwhile the loop thread reclaims an unused loop at once.
    func whileWaiting(_ body: () -> Void) {
        waitingScripts.add(1, ordering: .sequentiallyConsistent)
        // The thread that ran the loop may have released it before it could see `waitingScripts`.
        if belongsToScripts, !isRunByScript.load(ordering: .sequentiallyConsistent) { scheduleCheck(at: now()) }
        body()
        waitingScripts.subtract(1, ordering: .sequentiallyConsistent)
    }

    /// To be called after a command was posted: the loop must run soon even if no script polls.
    func requestWork() {
        guard belongsToScripts, !isRunByScript.load(ordering: .sequentiallyConsistent) else { return }
        hasWork.store(true, ordering: .sequentiallyConsistent)
        let time = earliestReclaim
        if time < nextCheck.load(ordering: .sequentiallyConsistent) { scheduleCheck(at: time) }
    }

    // MARK: - The loop thread

    private func lengthenReclaimDelay() {
        let longer = reclaimDelay.load(ordering: .relaxed) * 2
        reclaimDelay.store(min(longer, Self.maxReclaimDelay), ordering: .relaxed)
    }

    /// True while so much is received that the loop thread keeps the loop, and reads on while scripts deliver.
    var isStreaming: Bool {
        get { streaming.load(ordering: .relaxed) }
        set { streaming.store(newValue, ordering: .relaxed) }
    }

    var belongsToScripts: Bool { ownedByScripts.load(ordering: .sequentiallyConsistent) }

    /// Waits until scripts have left the loop unused, and takes it. Returns false when the host has closed the timer.
    func waitUntilReclaimable() -> Bool {
        while true {
            guard timer.waitUntilFired() else { return false }
            timerLock.withLock { _ in nextCheck.store(.max, ordering: .sequentiallyConsistent) }
            // A script runs the loop; its `release` will schedule the next check.
            guard !isRunByScript.load(ordering: .sequentiallyConsistent) else {
                lengthenReclaimDelay()
                continue
            }
            let (time, earliest) = (now(), earliestReclaim)
            guard time >= earliest || waitingScripts.load(ordering: .sequentiallyConsistent) > 0 || isStreaming else {
                if hasWork.load(ordering: .sequentiallyConsistent) {
                    scheduleCheck(at: earliest)
                } else {
                    // A script runs the loop again and again, without waiting: it waits in a loop of the host.
                    lengthenReclaimDelay()
                    scheduleCheck(at: time + reclaimDelay.load(ordering: .relaxed))
                }
                continue
            }
            ownedByScripts.store(false, ordering: .sequentiallyConsistent)
            guard isRunByScript.load(ordering: .sequentiallyConsistent) else {
                reclaimDelay.store(Self.minReclaimDelay, ordering: .relaxed)
                return true
            }
            // A script acquired the loop between the two loads: undo.
            ownedByScripts.store(true, ordering: .sequentiallyConsistent)
        }
    }
}
