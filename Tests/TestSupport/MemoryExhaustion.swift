// Lets memory run out. For the child process of an exit test: what is taken here is never given back.

import Glibc

/// The block that was taken last; each begins with the address of the one before, so that a leak checker reaches all.
// unsafe: a process that runs out of memory has one test, and no thread of its own.
nonisolated(unsafe) private var lastBlock: UnsafeMutableRawPointer?

/// Whether `withoutMemory` works: a sanitizer's allocator has reserved its memory, so no limit of the process reaches it. Each
/// test that calls `withoutMemory` has the trait `.enabled(if: canExhaustMemory)`.
public let canExhaustMemory = dlsym(nil, "__sanitizer_get_heap_size") == nil

/// Runs `body` while `malloc` has no block of 4 KiB or more to give; smaller ones can still be had.
public func withoutMemory<Result>(_ body: () -> Result) -> Result {
    precondition(canExhaustMemory, "the test lacks the trait .enabled(if: canExhaustMemory)")
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
    var none = rlimit(rlim_cur: 1, rlim_max: limit.rlim_max)
    setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &none)
    defer { setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) }
    for size in [1 << 20, 1 << 16, 1 << 12] {
        while let block = malloc(size) {
            block.storeBytes(of: lastBlock, as: UnsafeMutableRawPointer?.self)
            lastBlock = block
        }
    }
    return body()
}
