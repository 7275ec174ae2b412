// Whether this process is a forked child, and when the host's fork has to wait. A forked child has one thread. A lock that
// another thread of the parent held stays locked in the child, and the work of that thread is never finished. So the child
// uses none of the parent's state: RandomPool, Engine and TrustStore compare `generation` and begin anew, and the binding
// resets EventQueue and WebSocket before a script touches them. The locks of libraries it must use: so fork waits until no
// thread of ours can hold one. Called on any thread.

import CLinux

public enum Fork {
    /// Number of forks between the process that loaded the module and this one.
    @inline(__always)
    static var generation: Int32 { ws_fork_count() }

    static var isChild: Bool { generation > 0 }

    /// Number of forks of this process so far.
    static var children: Int32 { ws_children() }

    /// Blocks fork() while `body` runs, so that a child never inherits a lock of OpenSSL or of Swift's runtime in a locked
    /// state. Several threads may do this at the same time, and fork() waits for all of them: `body` must be short, and
    /// waits for files, the network or another thread belong into `whileAllowed`.
    static func whileBlocked<R: ~Copyable, Failure>(_ body: () throws(Failure) -> R) throws(Failure) -> R {
        let wasBlocked = block(true)
        defer { block(wasBlocked) }
        return try body()
    }

    /// Allows fork() while `body` runs, on a thread that has blocked it: for a system call that waits, or to let a fork in.
    /// The errno of that call is kept.
    static func whileAllowed<R: ~Copyable, Failure>(_ body: () throws(Failure) -> R) throws(Failure) -> R {
        let wasBlocked = block(false)
        defer { block(wasBlocked) }
        return try body()
    }

    /// Blocks fork() or allows it. Returns whether it was blocked before, for the call that undoes this one. The binding calls
    /// it, because a generic function of another module may take a lock of Swift's runtime before it is in.
    @discardableResult
    public static func block(_ blocks: Bool) -> Bool {
        assert(!blocks || !ws_is_in_turn(), "fork takes the lock of a turn last")
        let wasBlocked = ws_block_forks(blocks)
        if blocks != wasBlocked {
            assert(blocks ? LockLevel.fork.take() : LockLevel.fork.release(), "lock order: see docs/design.md")
        }
        return wasBlocked
    }
}
