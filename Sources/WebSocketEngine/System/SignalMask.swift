// The signals that the calling thread blocks. The engine's threads block all of them: Thread and LoopThread call this. The
// loop may run on a thread of the host: there TLSConnection+BIO blocks SIGPIPE for one write.

import CLinux
import Glibc

/// A saved mask of the calling thread.
struct SignalMask {
    private var set = sigset_t()

    /// Blocks every signal for the calling thread. Returns the mask before.
    @discardableResult
    static func blockAll() -> SignalMask {
        var all = sigset_t()
        var before = SignalMask()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, &before.set)
        return before
    }

    func restore() { withUnsafePointer(to: set) { _ = pthread_sigmask(SIG_SETMASK, $0, nil) } }
}

/// Calls `body`, and discards the SIGPIPE that it may cause. SIGPIPE would otherwise end the host. The errno of `body` is
/// kept.
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
            let number = errno
            defer { errno = number }
            var zero = timespec()
            while sigtimedwait(&pipe, nil, &zero) < 0, errno == EINTR {}
        }
        pthread_sigmask(SIG_SETMASK, &before, nil)
    }
    return body()
}
