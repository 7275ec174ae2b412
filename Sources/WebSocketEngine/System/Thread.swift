// Threads: the engine's, and those for what may take long and can't be waited for, files and the system's resolver.
// Not Dispatch's: its pool has an end, in a child of fork it counts on threads that only its parent has, and where the
// system allows no more it waits for one on the caller's thread.

import CLinux
import Glibc

private final class Work {
    let body: @Sendable () -> Void

    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

/// Runs `body` on a thread of its own, with all signals blocked.
func startThread(_ body: @escaping @Sendable () -> Void) throws(SystemError) {
    // A new thread inherits the caller's mask: it must not get the signals that end a Lua script's wait.
    let before = blockSignals()
    defer { before.restore() }
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    let work = Unmanaged.passRetained(Work(body))
    var thread = pthread_t()
    let status = pthread_create(
        &thread, &attributes,
        { work in
            Unmanaged<Work>.fromOpaque(work!).takeRetainedValue().body()
            return nil
        }, work.toOpaque())
    guard status == 0 else {
        work.release()
        throw SystemError("pthread_create", status)
    }
}

/// The signals that a thread gets.
struct SignalMask {
    fileprivate var set: sigset_t

    func restore() { withUnsafePointer(to: set) { _ = pthread_sigmask(SIG_SETMASK, $0, nil) } }
}

/// Blocks every signal for the calling thread.
@discardableResult
func blockSignals() -> SignalMask {
    var all = sigset_t()
    var before = SignalMask(set: sigset_t())
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &before.set)
    return before
}

/// Runs what might send SIGPIPE, on a thread that may be the host's, and takes the signal away.
func withoutSIGPIPE<R>(_ body: () -> R) -> R {
    var pipe = sigset_t()
    var before = sigset_t()
    var pending = sigset_t()
    sigemptyset(&pipe)
    sigaddset(&pipe, SIGPIPE)
    sigpending(&pending)
    let wasPending = sigismember(&pending, SIGPIPE) == 1
    pthread_sigmask(SIG_BLOCK, &pipe, &before)
    defer {
        if !wasPending {
            var zero = timespec()
            while sigtimedwait(&pipe, nil, &zero) < 0, errno == EINTR {}
        }
        pthread_sigmask(SIG_SETMASK, &before, nil)
    }
    return body()
}
