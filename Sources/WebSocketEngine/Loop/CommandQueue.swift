// Commands to the loop, from Lua's threads and from the resolver's. The loop is woken only when it waits, and
// once for all that came since it looked last.

import CLinux
import Dispatch
import Glibc
import Synchronization
import WebSocketProtocol

enum Command: Sendable {
    case connect(WebSocket)
    case close(WebSocket, CloseFrame)
    /// Its sendQueue has something.
    case flush(WebSocket)
    /// Lua has caught up with its events.
    case resume(WebSocket)
    /// Lua has no memory for a message of `bytes` bytes, which came with the connection of this number (SendQueue.connection).
    case refuse(WebSocket, bytes: Int, connection: UInt32)
    /// The Lua state of this queue is gone, and so is the time for its connections to end well.
    case dropSessions(EventQueue)
    case dropSession(WebSocket)
    /// The process ends: close everything, and signal when that is done.
    case shutDown(DispatchSemaphore)
    case shutDownSession(WebSocket)
    /// Nothing more: signal, and never turn again.
    case stopLoop(DispatchSemaphore)
    /// The answer to a look-up.
    case lookupFinished(HostAndPort, Resolution)
    /// A look-up's answer, for the session that waits with this token.
    case lookupResult(Poller.Token, Resolution)
    /// What the option tls came to.
    case tlsContextMade(Options.TLS, Result<TLSContext, TLSFailure>)
    /// A TLS context, for the session that waits with this token.
    case tlsContextResult(Poller.Token, Result<TLSContext, TLSFailure>)
}

final class CommandQueue: Sendable {
    private let ownership: LoopOwnership
    private let commands = Mutex<[Command]>([])
    /// Whether the loop has to look: told without the lock.
    private let mayHaveCommands = Atomic(false)
    /// Whether the loop waits, or is about to.
    private let isLoopWaiting = Atomic(false)
    /// An eventfd that the loop waits for.
    let wakeup: FileDescriptor

    /// - Parameter turns: who runs the loop, or will soon.
    init(_ ownership: LoopOwnership) throws(SystemError) {
        self.ownership = ownership
        wakeup = try FileDescriptor(eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK)), from: "eventfd")
    }

    /// Returns false when the loop can't be woken.
    @discardableResult
    func post(_ command: Command) -> Bool {
        commands.withLock { $0.append(command) }
        let isAwake = wake()
        ownership.requestWork()
        return isAwake
    }

    /// Ends the loop's wait, or the one that it is about to begin. Returns false when that can't be: the host has closed
    /// the descriptor.
    @discardableResult
    func wake() -> Bool {
        mayHaveCommands.store(true, ordering: .sequentiallyConsistent)
        guard isLoopWaiting.exchange(false, ordering: .sequentiallyConsistent) else { return true }
        return wakeup.isOurs && eventfd_write(wakeup.number, 1) == 0
    }

    /// The loop is about to wait: false when it has to look at the mail first.
    func prepareToWait() -> Bool {
        isLoopWaiting.store(true, ordering: .sequentiallyConsistent)
        return !hasCommands
    }

    /// The wait is over. `signalled`: by `wakeup`.
    func didWake(signalled: Bool) {
        // Whoever still sees it set wakes the loop once too often.
        isLoopWaiting.store(false, ordering: .relaxed)
        guard signalled else { return }
        var count: UInt64 = 0
        _ = eventfd_read(wakeup.number, &count)
    }

    var hasCommands: Bool { mayHaveCommands.load(ordering: .sequentiallyConsistent) }

    /// Exchanges what was posted for `commands`, which is empty.
    func drain(into commands: inout [Command]) {
        mayHaveCommands.store(false, ordering: .sequentiallyConsistent)
        self.commands.withLock { swap(&$0, &commands) }
    }
}
