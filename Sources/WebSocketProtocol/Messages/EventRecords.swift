// Event records in one contiguous buffer (CEvents.h): MessageReader and the engine append them on the loop thread, C
// reads them on Lua's thread. A small payload stands in its record. A large message keeps its own memory, a detached
// block, and the record has its address; the reader removes the block when Lua has its copy. This type owns the
// buffer and all blocks in it. One thread at a time uses a value; values move between threads by exchange, under the
// lock of an EventQueue.

import CEvents
import Glibc

// Sendable: there is one owner, and the blocks in the records go with it.
public struct EventRecords: ~Copyable, @unchecked Sendable {
    /// The records. MessageReader inflates the payload of the last one straight into it.
    var buffer = ByteBuffer()
    /// Records in `buffer`.
    public private(set) var count = 0
    /// Bytes of the records and of their detached blocks' messages: what counts against `maxqueued`.
    public private(set) var size = 0
    /// Whether a record may have a detached block: without, `removeAll` need not walk the records.
    public private(set) var hasDetachedBlocks = false
    /// Blocks for the next large messages.
    public var pool = BlockPool()

    /// Bytes of capacity that an empty buffer keeps when the burst that made it grow is over.
    private static let idleCapacity = 1 << 20
    /// Bytes that a record of a message leaves free after it: when there is no memory for more messages, the ERROR
    /// that says so still fits.
    private static let headroom = 4 << 10

    public init() {}

    deinit {
        if hasDetachedBlocks { freeBlocks() }
    }

    public var isEmpty: Bool { count == 0 }

    /// The records' bytes, valid until the next mutation.
    public var bytes: UnsafeMutableRawBufferPointer { buffer.bytes }

    // MARK: - Appending

    /// Appends a record with a copy of `payload`. Returns false, and changes nothing, if allocation fails.
    public mutating func append(
        type: Int, socket: UInt32, flags: Int = 0, _ payload: UnsafeRawBufferPointer
    ) -> Bool {
        append(type: type, socket: socket, flags: flags, payload, headroom: Self.headroom)
    }

    /// Appends the record of an event that must not be lost: OPEN, ERROR, CLOSE. It may use the headroom. If allocation
    /// fails even so, the process ends.
    public mutating func append(
        essential type: Int, socket: UInt32, flags: Int = 0, _ payload: UnsafeRawBufferPointer
    ) {
        guard append(type: type, socket: socket, flags: flags, payload, headroom: 0) else { outOfMemory() }
    }

    @inline(__always)
    private mutating func append(
        type: Int, socket: UInt32, flags: Int, _ payload: UnsafeRawBufferPointer, headroom: Int
    ) -> Bool {
        let header = ws_event(
            socket: socket, type: UInt8(truncatingIfNeeded: type), flags: UInt8(truncatingIfNeeded: flags), zero: 0,
            length: UInt64(payload.count))
        let padded = (payload.count + 7) & ~7
        let size = MemoryLayout<ws_event>.size + padded
        guard buffer.reserve(size + headroom) else { return false }
        let target = buffer.writableBytes.baseAddress!
        target.storeBytes(of: header, as: ws_event.self)
        if let bytes = payload.baseAddress {
            memcpy(target + MemoryLayout<ws_event>.size, bytes, payload.count)
        }
        buffer.didWrite(size)
        count += 1
        self.size += size
        return true
    }

    /// Appends a line for the script's debug function. The line is lost if allocation fails.
    public mutating func append(line: String, socket: UInt32) {
        var line = line
        line.withUTF8 { _ = append(type: WS_EVENT_DEBUG, socket: socket, UnsafeRawBufferPointer($0)) }
    }

    /// Appends a message and leaves `message` empty. A message of at least `threshold` bytes becomes a detached block,
    /// a smaller one is copied. Returns false if allocation fails; `message` is unchanged then.
    mutating func append(
        type: Int, socket: UInt32, moving message: inout ByteBuffer, detachedFrom threshold: Int = Thresholds().detach
    ) -> Bool {
        let length = message.count
        guard buffer.reserve(MemoryLayout<ws_event>.size + MemoryLayout<ws_block>.size + Self.headroom) else {
            return false
        }
        guard length >= threshold, let memory = message.release() else {
            defer { message.removeAll(keepingAtMost: 0) }
            return append(type: type, socket: socket, UnsafeRawBufferPointer(message.bytes))
        }
        var block = ws_block(bytes: memory.memory, capacity: UInt64(memory.capacity))
        let isAppended = withUnsafeBytes(of: &block) {
            append(type: type, socket: socket, flags: Int(WS_EVENT_DETACHED), $0)
        }
        assert(isAppended, "the record fits into the bytes that were reserved")
        (buffer.bytes.baseAddress! + buffer.count - MemoryLayout<ws_block>.size - MemoryLayout<ws_event>.size)
            .assumingMemoryBound(to: ws_event.self).pointee.length = UInt64(length)
        size += length
        hasDetachedBlocks = true
        return true
    }

    /// Allocation failed with the headroom used up: not even an ERROR can be delivered, so the process ends.
    private func outOfMemory() -> Never {
        _ = "websocket: out of memory for events\n".withCString { write(STDERR_FILENO, $0, strlen($0)) }
        abort()
    }

    // MARK: - A record whose payload is written in place

    /// Begins a record. The caller appends its payload to `buffer`, then calls `commitRecord` or `discardRecord`;
    /// nothing else may be appended in between. Returns the record's offset, or nil if allocation fails.
    mutating func beginRecord() -> Int? {
        let start = buffer.count
        guard buffer.reserve(MemoryLayout<ws_event>.size + Self.headroom) else { return nil }
        buffer.didWrite(MemoryLayout<ws_event>.size)
        return start
    }

    /// The payload so far of the record that begins at `start`.
    func payload(from start: Int) -> UnsafeRawBufferPointer {
        let bytes = UnsafeRawBufferPointer(buffer.bytes)
        return UnsafeRawBufferPointer(rebasing: bytes[(start + MemoryLayout<ws_event>.size)...])
    }

    /// Ends the record that begins at `start`. Returns false if allocation fails; the caller discards it then.
    mutating func commitRecord(_ start: Int, type: Int, socket: UInt32) -> Bool {
        let length = payload(from: start).count
        let padding = -length & 7
        guard buffer.reserve(padding + Self.headroom) else { return false }
        buffer.didWrite(padding)
        buffer.bytes.storeBytes(
            of: ws_event(
                socket: socket, type: UInt8(truncatingIfNeeded: type), flags: 0, zero: 0, length: UInt64(length)),
            toByteOffset: start, as: ws_event.self)
        count += 1
        size += buffer.count - start
        return true
    }

    mutating func discardRecord(_ start: Int) { buffer.truncate(to: start) }

    // MARK: - Moving and removing

    /// Moves the records of `other` after these; by exchange when there are none here. Returns false, and changes
    /// nothing, if allocation fails.
    public mutating func moveRecords(from other: inout EventRecords) -> Bool {
        if isEmpty {
            swap(&buffer, &other.buffer)
            swap(&count, &other.count)
            swap(&size, &other.size)
            swap(&hasDetachedBlocks, &other.hasDetachedBlocks)
            return true
        }
        guard buffer.append(UnsafeRawBufferPointer(other.buffer.bytes)) else { return false }
        count += other.count
        size += other.size
        hasDetachedBlocks = hasDetachedBlocks || other.hasDetachedBlocks
        other.forgetRecords()
        return true
    }

    /// Removes all records and frees the blocks that are still in them.
    public mutating func removeAll() {
        if hasDetachedBlocks { freeBlocks() }
        forgetRecords()
    }

    private mutating func forgetRecords() {
        buffer.removeAll(keepingAtMost: buffer.count < Self.idleCapacity / 4 ? Self.idleCapacity : .max)
        count = 0
        size = 0
        hasDetachedBlocks = false
    }

    @inline(never)
    private func freeBlocks() {
        for element in elements {
            if let block = element.removeBlock() { free(block.bytes) }
        }
    }
}
