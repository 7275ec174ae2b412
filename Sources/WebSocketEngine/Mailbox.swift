// Commands to the engine's thread, from Lua's threads and from the resolver's. The loop is woken once for
// all that came since it looked last.

import CLinux
import Dispatch
import Glibc
import Synchronization
import WebSocketProtocol

enum Command: Sendable {
    case connect(WebSocket, epoch: UInt16)
    case close(WebSocket, CloseFrame)
    /// Its outbox has something.
    case flush(WebSocket)
    /// Lua has caught up with its events.
    case resume(WebSocket)
    /// The Lua state of this queue is gone, and so is the time for its connections to end well.
    case drop(EventQueue)
    /// The process ends: close everything, and signal when that is done.
    case leave(DispatchSemaphore)
    /// Nothing more: signal, and never turn again.
    case halt(DispatchSemaphore)
    /// The answer to a look-up.
    case resolved(HostAndPort, Resolution)
    /// What the option tls came to.
    case prepared(Options.TLS, Result<TLSContext, TLSFailure>)
}

final class Mailbox: Sendable {
    private struct Shared {
        var commands: [Command] = []
        var isAwake = false
    }

    private let shared = Mutex(Shared())
    /// An eventfd that the loop waits for.
    let wakeup: FileDescriptor

    init() throws(SystemError) {
        let number = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        guard number >= 0 else { throw SystemError("eventfd") }
        wakeup = FileDescriptor(number)
    }

    func post(_ command: Command) {
        let wakes = shared.withLock { shared in
            shared.commands.append(command)
            defer { shared.isAwake = true }
            return !shared.isAwake
        }
        if wakes { eventfd_write(wakeup.number, 1) }
    }

    /// Exchanges what was posted for `commands`, which is empty.
    func take(_ commands: inout [Command]) {
        var count: UInt64 = 0
        _ = eventfd_read(wakeup.number, &count)
        shared.withLock { shared in
            swap(&shared.commands, &commands)
            shared.isAwake = false
        }
    }
}
