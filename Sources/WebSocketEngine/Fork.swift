// In a child of fork there is one thread, and what the parent's threads held or were about to do is there for ever. So
// nothing is taken over: who finds a later generation than its own begins anew (RandomPool, Engine), and the binding
// resets what a script may go on with (EventQueue, WebSocket) before it touches it.

import CLinux

enum Fork {
    /// How many forks made this process.
    @inline(__always)
    static var generation: Int32 { ws_fork_count() }

    /// Runs what holds locks for long that a child would find held, by nobody: it forks before or after.
    static func held<R, Failure>(_ body: () throws(Failure) -> R) throws(Failure) -> R {
        ws_hold_forks()
        defer { ws_release_forks() }
        return try body()
    }
}
