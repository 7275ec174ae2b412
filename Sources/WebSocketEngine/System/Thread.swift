// Threads made by pthread_create, for work that blocks: the system's resolver (Resolver), the files of the option `tls`
// (TLSContextCache), and the key log. LoopThread uses them to start the loop's thread. Called on Lua's threads and on the loop thread.
//
// Blocking work does not go to Dispatch's global queues: their threads are limited in number, and one lookup may block
// for half a minute.

import CLinux
import Glibc

private final class Work {
    let body: @Sendable () -> Void

    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

/// A thread that runs one closure with all signals blocked. Fork waits for the thread, except where the closure allows it
/// (`Fork.whileAllowed`), as it must for everything that waits. Either `join` or `detach` must be called, once.
struct Thread: Sendable {
    private let thread: pthread_t

    /// Throws the error of pthread_create, EAGAIN when the system allows no more threads.
    init(_ body: @escaping @Sendable () -> Void) throws(SystemError) {
        // A new thread inherits the caller's mask. It must not get the signals that interrupt a script's wait.
        let mask = SignalMask.blockAll()
        defer { mask.restore() }
        let work = Unmanaged.passRetained(Work(body))
        var thread = pthread_t()
        let status = pthread_create(
            &thread, nil,
            { work in
                // Around all of Swift's code, also that which frees the closure.
                Fork.whileBlocked { Unmanaged<Work>.fromOpaque(work!).takeRetainedValue().body() }
                return nil
            }, work.toOpaque())
        guard status == 0 else {
            work.release()
            throw SystemError("pthread_create", status)
        }
        self.thread = thread
    }

    /// Waits until the thread has ended.
    func join() { pthread_join(thread, nil) }

    /// Frees the thread's memory when it ends; nobody waits for it.
    func detach() { pthread_detach(thread) }
}

/// Runs `body` on a new thread, for which nobody waits.
func startThread(_ body: @escaping @Sendable () -> Void) throws(SystemError) { try Thread(body).detach() }
