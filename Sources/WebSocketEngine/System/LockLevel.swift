// The order in which a thread takes the locks of the module, for assertions only: release builds never call this. A lock of a
// later level may be taken while one of an earlier level is held, as the table "Locks" of docs/design.md says; no other
// two locks are held together. Mutex and Fork call this on any thread.

import CLinux

enum LockLevel: UInt32 {
    /// `Engine.loop` and `TrustStore.latest`.
    case outer = 1
    /// The fork lock (Fork.whileBlocked).
    case fork = 2
    /// All others: no lock is taken while one of them is held.
    case inner = 4

    /// Notes that this thread takes a lock. Returns false if the thread has one of the same or of a later level.
    func take() -> Bool {
        let held = ws_held_locks()!
        guard held.pointee < rawValue else { return false }
        held.pointee |= rawValue
        return true
    }

    /// Notes that this thread unlocks. Returns false if the thread has no lock of this level.
    func release() -> Bool {
        let held = ws_held_locks()!
        defer { held.pointee &= ~rawValue }
        return held.pointee & rawValue != 0
    }
}
