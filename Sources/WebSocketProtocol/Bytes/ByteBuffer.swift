// Bytes in order: appended at the end, consumed from the front. The one owner of message memory;
// used for outgoing frames, messages being put together and the event log. Never shrinks by itself.

import Glibc

// Sendable: there is one owner, and its memory goes with it.
public struct ByteBuffer: ~Copyable, @unchecked Sendable {
    /// From `malloc`, so that C can take it over; nil until the first `reserve`.
    private var base: UnsafeMutableRawPointer?
    public private(set) var capacity = 0
    private var start = 0
    private var end = 0

    public init() {}

    /// Takes over memory from `malloc`, empty.
    public init(adopting memory: UnsafeMutableRawPointer, capacity: Int) {
        base = memory
        self.capacity = capacity
    }

    deinit { free(base) }

    public var count: Int { end - start }
    public var isEmpty: Bool { start == end }

    /// The bytes that wait, valid until the next mutation.
    public var bytes: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: base.map { $0 + start }, count: end - start)
    }

    /// Room behind the last byte, valid until the next mutation.
    public var writableBytes: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: base.map { $0 + end }, count: capacity - end)
    }

    /// Makes room for `extra` more bytes. False when there is no memory; nothing has changed then.
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
            // The front half is free: moving costs less than what was consumed to free it.
            memmove(base!, base! + start, count)
        } else {
            let doubled = max(needed, capacity &* 2, 256)
            // The kernel moves a large block without copying it: never are there two of it.
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

    /// Counts bytes that were written into `writableBytes`.
    public mutating func didWrite(_ count: Int) { end += count }

    public mutating func didRead(_ count: Int) {
        start += count
        if start == end { removeAll() }
    }

    /// Forgets what is behind the first `count` bytes.
    public mutating func truncate(to count: Int) { end = start + count }

    public mutating func removeAll() {
        start = 0
        end = 0
    }

    /// Forgets everything and gives the memory back when it is more than `limit` bytes.
    public mutating func removeAll(keepingAtMost limit: Int) {
        removeAll()
        guard capacity > limit else { return }
        free(base)
        base = nil
        capacity = 0
    }

    /// Copies the bytes to the end. False when there is no memory.
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

    /// Hands the memory to the caller, who frees it. The bytes must begin at its front: nothing consumed.
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
