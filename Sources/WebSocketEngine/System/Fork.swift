// What a forked child must know. It has one thread. A lock that another thread of the parent held stays locked in the child,
// and the work of that thread is never finished. So the child uses none of the parent's state: RandomPool and Engine
// compare `generation` and begin anew, and the binding resets EventQueue and WebSocket before a script touches them.
// Called on any thread.

import CLinux

enum Fork {
    /// Number of forks between the process that loaded the module and this one.
    @inline(__always)
    static var generation: Int32 { ws_fork_count() }

    static var isChild: Bool { generation > 0 }

    /// Blocks fork() while `body` runs, so that a child never inherits a lock of OpenSSL or of another library in a locked
    /// state. Several threads may do this at the same time, and fork() waits for all of them: `body` must be short and
    /// must not read a file. Must not be nested.
    static func whileBlocked<R: ~Copyable, Failure>(_ body: () throws(Failure) -> R) throws(Failure) -> R {
        ws_block_forks()
        defer { ws_allow_forks() }
        return try body()
    }
}
