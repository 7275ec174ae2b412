// The descriptor that a script gives to an event loop of the host (`websocket.fd`): readable while events wait, while a timer of
// the script is due, and while the loop has something to do that nobody does. Called on Lua's thread, and by Engine on the
// thread that runs the loop.

import CLinux
import Glibc
import Synchronization

extension EventQueue {
    /// Whether the script has asked for the descriptor.
    @inline(__always)
    var hasDescriptor: Bool { descriptorExists.load(ordering: .relaxed) }

    // MARK: - Lua's thread

    /// Returns the descriptor: always the same number, unless the host has closed it. Call `show` after the first time.
    /// - Throws: when the system gives no descriptor.
    public func descriptor() throws(SystemError) -> Int32 {
        // Fetched records may remain.
        let wasReadable = signal.load(ordering: .relaxed) == .written
        let number = try shared.withLock { (shared) throws(SystemError) in try prepareDescriptor(&shared) }
        if let engine = Engine.withCurrent({ $0 }) { try engine.addLoop(to: self) }
        show(wasReadable)
        return number
    }

    private func prepareDescriptor(_ shared: inout Shared) throws(SystemError) -> Int32 {
        if shared.openWakeup >= 0, shared.descriptor?.isIntact == true { return shared.descriptor?.number ?? -1 }
        shared.descriptor = nil
        descriptorExists.store(false, ordering: .relaxed)
        guard prepareWakeup(&shared) else { throw SystemError("socket") }
        let descriptor = try EventDescriptor(wakeup: shared.openWakeup)
        descriptor.setTimer(timer.load(ordering: .relaxed))
        let number = descriptor.number
        shared.descriptor = consume descriptor
        descriptorExists.store(true, ordering: .relaxed)
        return number
    }

    /// Makes the descriptor readable if fetched records remain or records are queued, else unreadable until the next record is
    /// queued. (The timer and the loop's work are not this function's.)
    public func show(_ remain: Bool) {
        guard hasDescriptor else { return }
        // The usual cases, without the lock: nobody else ends `written`, and `awaited` becomes `written` by itself.
        let isReadable = remain || !isEmpty
        guard signal.load(ordering: .relaxed) != (isReadable ? .written : .awaited) else { return }
        shared.withLock { shared in
            if remain || shared.count > 0 {
                guard signal.load(ordering: .relaxed) != .written else { return }
                signal.store(.written, ordering: .relaxed)
                ws_signal_wakeup(shared.openWakeup)
            } else if signal.load(ordering: .relaxed) == .written {
                readWakeup(&shared)
            } else {
                signal.store(.awaited, ordering: .relaxed)
            }
        }
    }

    /// The descriptor is readable from the time on at which the monotonic clock shows `seconds`; infinity means never.
    public func setTimer(_ seconds: Double) {
        // Rounded up: the script must find the timer due.
        let time = seconds == .infinity ? .max : Nanoseconds(seconds: seconds) + 1
        guard time != timer.load(ordering: .relaxed) else { return }
        timer.store(time, ordering: .relaxed)
        if hasDescriptor { shared.withLock { $0.descriptor?.setTimer(time) } }
    }

    /// `poll` looks without waiting. A script with a descriptor waits in the host's loop, so it does the work of the engine's
    /// loop here.
    func runLoopWithoutWaiting() {
        if hasDescriptor { Engine.withCurrent { $0.runLoopWithoutWaiting(self) } }
    }

    // MARK: - Engine

    /// To be called when the engine knows the queue.
    func addLoop(_ epoll: Int32) throws(SystemError) {
        guard hasDescriptor else { return }
        try shared.withLock { (shared) throws(SystemError) in try shared.descriptor?.addLoop(epoll) }
    }

    /// The loop will not run any more.
    func removeLoop() {
        if hasDescriptor { shared.withLock { $0.descriptor?.removeLoop() } }
    }

    /// See `EventDescriptor.reportLoop`.
    func reportLoop(_ isReported: Bool) {
        if hasDescriptor { shared.withLock { $0.descriptor?.reportLoop(isReported) } }
    }
}
