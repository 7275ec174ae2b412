// A value that one thread at a time may touch.
//
// Not Synchronization's: that one writes the thread's id into the lock, and remembers it across a fork. In the
// child the owner is then a thread of the parent, and the kernel's refusal ends the process.

import Glibc

// Sendable: whoever touches the value holds the lock.
struct Mutex<Value: ~Copyable>: ~Copyable, @unchecked Sendable {
    private let handle = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let value = UnsafeMutablePointer<Value>.allocate(capacity: 1)

    init(_ initial: consuming sending Value) {
        value.initialize(to: initial)
        pthread_mutex_init(handle, nil)
    }

    deinit {
        pthread_mutex_destroy(handle)
        value.deinitialize(count: 1)
        handle.deallocate()
        value.deallocate()
    }

    @inline(__always)
    func withLock<Result: ~Copyable, Failure>(
        _ body: (inout Value) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        pthread_mutex_lock(handle)
        defer { pthread_mutex_unlock(handle) }
        return try body(&value.pointee)
    }

    /// Calls `prompt` before it waits for another thread that has the value.
    @inline(__always)
    func withLock<Result>(ifTaken prompt: () -> Void, _ body: (inout Value) -> Result) -> Result {
        if pthread_mutex_trylock(handle) != 0 {
            prompt()
            pthread_mutex_lock(handle)
        }
        defer { pthread_mutex_unlock(handle) }
        return body(&value.pointee)
    }
}
