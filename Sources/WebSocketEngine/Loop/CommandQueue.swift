// Carries commands from other threads to the loop. `post` and `wake` are called on any thread, the rest on the thread that
// runs the loop. A wake-up (`ws_make_wakeup`) wakes the loop, only while it waits and only once for all commands posted meanwhile.

import CLinux
import Dispatch
import Glibc
import Synchronization

final class CommandQueue: Sendable {
    private let ownership: LoopOwnership
    private let commands = Mutex<[Command]>([])
    /// Set by `wake`, cleared by `drain`; read without the lock.
    private let mustRun = Atomic(false)
    /// True from just before the loop waits until it is woken. Who clears it writes to `wakeup`.
    private let isLoopWaiting = Atomic(false)
    /// Threads that use OpenSSL before they post (TLSContextCache). At the end of the process the engine waits for them.
    let unfinishedThreads = DispatchGroup()
    /// The loop has registered it with its poller.
    let wakeup: FileDescriptor

    init(_ ownership: LoopOwnership) throws(SystemError) {
        self.ownership = ownership
        wakeup = try FileDescriptor(ws_make_wakeup(), from: "socket")
    }

    /// Returns false when the loop cannot be woken.
    @discardableResult
    func post(_ command: Command) -> Bool {
        commands.withLock { $0.append(command) }
        let isAwake = wake()
        ownership.requestWork()
        return isAwake
    }

    /// Ends the loop's wait, or the wait that it is about to begin. Returns false when the host has closed the wake-up.
    @discardableResult
    func wake() -> Bool {
        mustRun.store(true, ordering: .sequentiallyConsistent)
        guard isLoopWaiting.exchange(false, ordering: .sequentiallyConsistent) else { return true }
        return wakeup.isOurs && ws_signal_wakeup(wakeup.number) != 0
    }

    /// To be called before the loop waits. Returns false when there are commands, so that it must not wait.
    func prepareToWait() -> Bool {
        isLoopWaiting.store(true, ordering: .sequentiallyConsistent)
        return !hasCommands
    }

    /// To be called when the wait is over.
    /// - Parameter signalled: whether `wakeup` is readable.
    func didWake(signalled: Bool) {
        // A thread that still reads true causes one spurious wake-up, which is harmless.
        isLoopWaiting.store(false, ordering: .relaxed)
        guard signalled else { return }
        // Epoll has just reported it, so that it is ours still.
        ws_clear_wakeup(wakeup.number)
    }

    /// Also true, once, after `wake` without a command.
    var hasCommands: Bool { mustRun.load(ordering: .sequentiallyConsistent) }

    /// Moves all posted commands to `commands`, which must be empty.
    func drain(into commands: inout [Command]) {
        assert(commands.isEmpty)
        mustRun.store(false, ordering: .sequentiallyConsistent)
        self.commands.withLock { swap(&$0, &commands) }
    }
}
