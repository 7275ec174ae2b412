// A value that one thread at a time may touch. A futex (Drepper, "Futexes Are Tricky", 2011): free, it costs two atomic
// operations in line, since a script that sends takes one for each message.
//
// Not Synchronization's: that one writes the thread's id into the lock. In a child of fork the owner is then a thread of
// the parent, and the kernel's refusal ends the process.

import CLinux
import Synchronization

// Sendable: whoever touches the value holds the lock.
struct Mutex<Value: ~Copyable>: ~Copyable, @unchecked Sendable {
    /// 0: free, 1: held, 2: held while others may wait.
    private let word = UnsafeMutablePointer<Atomic<UInt32>>.allocate(capacity: 1)
    private let value = UnsafeMutablePointer<Value>.allocate(capacity: 1)

    init(_ initial: consuming sending Value) {
        word.initialize(to: Atomic(0))
        value.initialize(to: initial)
    }

    deinit {
        word.deinitialize(count: 1)
        word.deallocate()
        value.deinitialize(count: 1)
        value.deallocate()
    }

    @inline(__always)
    func withLock<Result: ~Copyable, Failure>(
        _ body: (inout Value) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        if !tryLock() { waitForLock() }
        defer { unlock() }
        return try body(&value.pointee)
    }

    /// When another thread has the value, asks it to leave by `prompt` and waits. Returns nil, without waiting, when that
    /// returns false.
    @inline(__always)
    func withLock<Result>(ifContended prompt: () -> Bool, _ body: (inout Value) -> Result) -> Result? {
        if !tryLock() {
            guard prompt() else { return nil }
            waitForLock()
        }
        defer { unlock() }
        return body(&value.pointee)
    }

    /// In a child of fork, for what its parent had: the lock may be held by a thread that is not there, and the value half
    /// changed. It is left where it is.
    func reset(to initial: consuming sending Value) {
        word.pointee.store(0, ordering: .relaxed)
        value.initialize(to: initial)
    }

    @inline(__always)
    private func tryLock() -> Bool {
        word.pointee.compareExchange(expected: 0, desired: 1, ordering: .acquiring).exchanged
    }

    @inline(never)
    private func waitForLock() {
        // Whoever has waited can't know whether others still do.
        while word.pointee.exchange(2, ordering: .acquiring) != 0 { ws_futex_wait(word, 2) }
    }

    @inline(__always)
    private func unlock() {
        if word.pointee.exchange(0, ordering: .releasing) == 2 { ws_futex_wake(word) }
    }
}
