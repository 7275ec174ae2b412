// A lock and the value that it protects: a futex (Drepper, "Futexes Are Tricky", 2011). Taking and releasing a free lock are
// two atomic operations, inlined, because a script takes one lock for each message that it sends. Used on all threads.
//
// Synchronization.Mutex writes the owner's thread id into the lock. In a forked child that can be a thread that only the
// parent has; then the kernel returns an error, and Synchronization.Mutex ends the process.
//
// Debug builds check the lock order (LockLevel.swift).

import CLinux
import Synchronization

// Sendable: the value is only accessed with the lock held.
struct Mutex<Value: ~Copyable>: ~Copyable, @unchecked Sendable {
    /// 0: free, 1: locked, 2: locked, and threads may be waiting. The value stands behind it: who takes the lock has the value's
    /// first bytes in the processor's cache, too.
    private let word: UnsafeMutablePointer<Atomic<UInt32>>
    private var value: UnsafeMutablePointer<Value> {
        (UnsafeMutableRawPointer(word) + Self.offset).assumingMemoryBound(to: Value.self)
    }

    private static var offset: Int { max(MemoryLayout<Atomic<UInt32>>.size, MemoryLayout<Value>.alignment) }

    private let level: LockLevel

    init(_ initial: consuming sending Value, level: LockLevel = .inner) {
        self.level = level
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: Self.offset + MemoryLayout<Value>.size,
            alignment: max(MemoryLayout<Atomic<UInt32>>.alignment, MemoryLayout<Value>.alignment))
        word = memory.initializeMemory(as: Atomic<UInt32>.self, to: Atomic(0))
        (memory + Self.offset).initializeMemory(as: Value.self, to: initial)
    }

    deinit {
        value.deinitialize(count: 1)
        word.deinitialize(count: 1)
        word.deallocate()
    }

    @inline(__always)
    func withLock<Result: ~Copyable, Failure>(
        _ body: (inout Value) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        assert(level.take(), "lock order: see docs/design.md")
        if !tryLock() { waitForLock() }
        defer { unlock() }
        return try body(&value.pointee)
    }

    /// If another thread holds the lock, calls `prompt`, which must make that thread unlock soon, and waits. Returns nil
    /// without waiting if `prompt` returns false.
    @inline(__always)
    func withLock<Result>(ifContended prompt: () -> Bool, _ body: (inout Value) -> Result) -> Result? {
        if !tryLock() {
            guard prompt() else { return nil }
            waitForLock()
        }
        assert(level.take(), "lock order: see docs/design.md")
        defer { unlock() }
        return body(&value.pointee)
    }

    /// In a forked child: unlocks and replaces the value, which a thread of the parent may have left locked and half
    /// changed. The old value is not destroyed.
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
        // This thread cannot know whether others wait too, so it takes the lock in state 2.
        while word.pointee.exchange(2, ordering: .acquiring) != 0 { ws_futex_wait(word, 2) }
    }

    @inline(__always)
    private func unlock() {
        assert(level.release())
        if word.pointee.exchange(0, ordering: .releasing) == 2 { ws_futex_wake(word) }
    }
}
