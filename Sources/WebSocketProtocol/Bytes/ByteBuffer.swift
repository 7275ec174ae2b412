// A byte buffer: bytes are appended at the end and read from the front. It owns its memory, and one thread at a time
// uses it. It holds outgoing frames, messages that are being put together, and event records. It never shrinks by
// itself.

import Glibc

// Sendable: there is one owner, and the memory moves with it.
public struct ByteBuffer: ~Copyable, @unchecked Sendable {
    /// From malloc, so that C can free it; nil until the first `reserve`.
    private var base: UnsafeMutableRawPointer?
    public private(set) var capacity = 0
    /// Offsets of the first unread byte, and after the last byte.
    private var start = 0
    private var end = 0

    public init() {}

    /// An empty buffer that owns `memory`, which is from malloc.
    public init(adopting memory: UnsafeMutableRawPointer, capacity: Int) {
        base = memory
        self.capacity = capacity
    }

    deinit { free(base) }

    public var count: Int { end - start }
    public var isEmpty: Bool { start == end }

    /// The unread bytes, valid until the next mutation.
    public var bytes: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: base.map { $0 + start }, count: end - start)
    }

    /// Reserved memory after the last byte, valid until the next mutation.
    public var writableBytes: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: base.map { $0 + end }, count: capacity - end)
    }

    /// Makes `writableBytes` at least `extra` bytes long. Returns false, and changes nothing, if allocation fails.
    @discardableResult
    public mutating func reserve(_ extra: Int) -> Bool {
        if capacity - end >= extra { return true }
        return grow(extra)
    }

    private mutating func grow(_ extra: Int) -> Bool {
        let count = end - start
        let (needed, overflow) = count.addingReportingOverflow(extra)
        if overflow { return false }
        if needed <= capacity, start >= capacity / 2 {
            // The front half is free: moving the rest copies fewer bytes than were read since the last move.
            memmove(base!, base! + start, count)
        } else {
            let doubled = max(needed, capacity &* 2, 256)
            // realloc moves a large block by mremap: it is not copied, and there are never two of it.
            if start > 0 { memmove(base!, base! + start, count) }
            guard let larger = realloc(base, doubled) else {
                start = 0
                end = count
                return false
            }
            base = larger
            capacity = doubled
        }
        start = 0
        end = count
        return true
    }

    /// Adds bytes that were written to the start of `writableBytes`.
    public mutating func didWrite(_ count: Int) { end += count }

    /// Removes bytes at the front.
    public mutating func didRead(_ count: Int) {
        start += count
        if start == end { removeAll() }
    }

    /// Removes the bytes after the first `count`.
    public mutating func truncate(to count: Int) { end = start + count }

    public mutating func removeAll() {
        start = 0
        end = 0
    }

    /// Removes all bytes, and frees the memory if the capacity is above `limit`.
    public mutating func removeAll(keepingAtMost limit: Int) {
        removeAll()
        guard capacity > limit else { return }
        free(base)
        base = nil
        capacity = 0
    }

    /// Copies bytes to the end. Returns false, and changes nothing, if allocation fails.
    @discardableResult
    public mutating func append(_ source: UnsafeRawBufferPointer) -> Bool {
        guard reserve(source.count) else { return false }
        if !source.isEmpty, let bytes = source.baseAddress { memcpy(base! + end, bytes, source.count) }
        end += source.count
        return true
    }

    @discardableResult
    public mutating func append(_ source: String) -> Bool {
        var source = source
        return source.withUTF8 { append(UnsafeRawBufferPointer($0)) }
    }

    /// Gives the memory to the caller, who frees it; nil if there is none, or if its first bytes were read already.
    public mutating func release() -> (memory: UnsafeMutableRawPointer, capacity: Int)? {
        guard start == 0, let memory = base else { return nil }
        defer {
            base = nil
            capacity = 0
            removeAll()
        }
        return (memory, capacity)
    }
}
