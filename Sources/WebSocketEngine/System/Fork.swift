// A forked child has one thread; locks that the parent's other threads held stay locked in it, and what they were about to do
// is never done. So nothing of the parent is used: who finds a later generation than its own begins anew (RandomPool,
// Engine), and the binding resets what a script may go on with (EventQueue, WebSocket) before it touches it.

import CLinux

enum Fork {
    /// How many forks made this process.
    @inline(__always)
    static var generation: Int32 { ws_fork_count() }

    /// Blocks fork() while `body` runs, so that a child never inherits a lock of OpenSSL's, or another library's, in a locked
    /// state. Threads may do this at the same time; fork() waits for all of them, so `body` must be short and read no
    /// file. Not to be nested.
    static func whileBlocked<R: ~Copyable, Failure>(_ body: () throws(Failure) -> R) throws(Failure) -> R {
        ws_block_forks()
        defer { ws_allow_forks() }
        return try body()
    }
}
