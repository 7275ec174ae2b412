// A value that one thread at a time may touch. A futex (Drepper, "Futexes Are Tricky", 2011): free, it costs two atomic
// operations in line, since a script that sends takes one for each message.
//
// Not Synchronization's: that one writes the thread's id into the lock, and remembers it across a fork. In the
// child the owner is then a thread of the parent, and the kernel's refusal ends the process.

import CLinux
import Synchronization

// Sendable: whoever touches the value holds the lock.
struct Mutex<Value: ~Copyable>: ~Copyable, @unchecked Sendable {
    private struct Locked: ~Copyable {
        /// 0: free, 1: held, 2: held while others may wait. The first field: its address is that of all.
        let word = Atomic<UInt32>(0)
        var value: Value
    }

    private let locked = UnsafeMutablePointer<Locked>.allocate(capacity: 1)

    init(_ initial: consuming sending Value) { locked.initialize(to: Locked(value: initial)) }

    deinit {
        locked.deinitialize(count: 1)
        locked.deallocate()
    }

    @inline(__always)
    func withLock<Result: ~Copyable, Failure>(
        _ body: (inout Value) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        if !take() { wait() }
        defer { release() }
        return try body(&locked.pointee.value)
    }

    /// Calls `prompt` before it waits for another thread that has the value.
    @inline(__always)
    func withLock<Result>(ifTaken prompt: () -> Void, _ body: (inout Value) -> Result) -> Result {
        if !take() {
            prompt()
            wait()
        }
        defer { release() }
        return body(&locked.pointee.value)
    }

    @inline(__always)
    private func take() -> Bool {
        locked.pointee.word.compareExchange(expected: 0, desired: 1, ordering: .acquiring).exchanged
    }

    @inline(never)
    private func wait() {
        // Whoever has waited can't know whether others still do.
        while locked.pointee.word.exchange(2, ordering: .acquiring) != 0 { ws_futex_wait(locked, 2) }
    }

    @inline(__always)
    private func release() {
        if locked.pointee.word.exchange(0, ordering: .releasing) == 2 { ws_futex_wake(locked) }
    }
}
