// Events as records in one contiguous buffer (CEvents.h): the protocol appends, the Lua side walks them.
// Small payloads are copied in; a large message is lent: the record holds its memory until the reader
// gives it back. Whoever holds the log owns every block still in it.

public import CEvents
import Glibc

// Sendable: there is one owner, and the memory that the records lend goes with it.
public struct EventRecords: ~Copyable, @unchecked Sendable {
    var records = ByteBuffer()
    /// Whether any record was lent: without, nothing is walked a second time.
    public private(set) var hasLent = false
    /// Memory of messages that were delivered, kept for the next ones: the latest, which the processor still has in its
    /// cache, is used first.
    private var spares: [ws_block] = []
    private var spareSize = 0
    /// Records in the log.
    public private(set) var count = 0
    /// Bytes in the log, lent ones included: what counts against `maxqueued`.
    public private(set) var size = 0

    /// How many bytes of delivered memory are kept for the next messages: of as many as wait for Lua in a stream, or each
    /// would be asked for anew, and the system has to give and take back its pages.
    private static let spareLimit = 16 << 20
    /// An empty log keeps at most so much memory of a burst that is over.
    private static let idleCapacity = 1 << 20
    /// Bytes that messages leave free in the log: where there is no memory for another message, there is still some to say
    /// so.
    private static let headroom = 4 << 10

    public init() {}

    deinit {
        freeLent()
        for block in spares { free(block.bytes) }
    }

    public var isEmpty: Bool { count == 0 }

    /// The records, valid until the next mutation.
    public var bytes: UnsafeMutableRawBufferPointer { records.bytes }

    /// Appends a record whose payload is `payload`, copied. Returns false, and changes nothing, when there is no memory.
    public mutating func append(
        type: Int, socket: UInt32, flags: Int = 0, _ payload: UnsafeRawBufferPointer
    ) -> Bool {
        append(type: type, socket: socket, flags: flags, payload, headroom: Self.headroom)
    }

    /// Appends the record of an event that must not be lost: an opening, an error, an end. It may use the memory that
    /// messages leave free. Where there is none at all, the process ends.
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
        guard records.reserve(size + headroom) else { return false }
        let target = records.space.baseAddress!
        target.storeBytes(of: header, as: ws_event.self)
        if let bytes = payload.baseAddress {
            memcpy(target + MemoryLayout<ws_event>.size, bytes, payload.count)
        }
        records.produced(size)
        count += 1
        self.size += size
        return true
    }

    /// Begins a record whose payload is to be appended to `records`: then comes `end`, or `drop` if there is to be none.
    /// Returns where it begins; nil when there is no memory.
    mutating func begin() -> Int? {
        let start = records.count
        guard records.reserve(MemoryLayout<ws_event>.size + Self.headroom) else { return nil }
        records.produced(MemoryLayout<ws_event>.size)
        return start
    }

    /// The payload of the record that began at `start`, so far.
    func payload(from start: Int) -> UnsafeRawBufferPointer {
        let bytes = UnsafeRawBufferPointer(records.bytes)
        return UnsafeRawBufferPointer(rebasing: bytes[(start + MemoryLayout<ws_event>.size)...])
    }

    /// False when there is no memory.
    mutating func end(_ start: Int, type: Int, socket: UInt32) -> Bool {
        let length = payload(from: start).count
        let padding = -length & 7
        guard records.reserve(padding + Self.headroom) else { return false }
        records.produced(padding)
        records.bytes.storeBytes(
            of: ws_event(
                socket: socket, type: UInt8(truncatingIfNeeded: type), flags: 0, zero: 0, length: UInt64(length)),
            toByteOffset: start, as: ws_event.self)
        count += 1
        size += records.count - start
        return true
    }

    mutating func drop(_ start: Int) { records.truncate(to: start) }

    /// Appends a line for the script's debug function; without memory there is none.
    public mutating func append(line: String, socket: UInt32) {
        var line = line
        line.withUTF8 { _ = append(type: WS_EVENT_DEBUG, socket: socket, UnsafeRawBufferPointer($0)) }
    }

    /// Appends a message and leaves `message` empty: lent when it is large, copied when not. Returns false when there is no
    /// memory.
    mutating func append(
        type: Int, socket: UInt32, taking message: inout ByteBuffer, lendingFrom threshold: Int = Thresholds().lending
    ) -> Bool {
        let length = message.count
        guard records.reserve(MemoryLayout<ws_event>.size + MemoryLayout<ws_block>.size + Self.headroom) else {
            return false
        }
        guard length >= threshold, let block = message.release() else {
            defer { message.removeAll(keepingAtMost: 0) }
            return append(type: type, socket: socket, UnsafeRawBufferPointer(message.bytes))
        }
        var lent = ws_block(bytes: block.memory, capacity: UInt64(block.capacity))
        let isAppended = withUnsafeBytes(of: &lent) {
            append(type: type, socket: socket, flags: Int(WS_EVENT_LENT), $0)
        }
        assert(isAppended, "there was room")
        (records.bytes.baseAddress! + records.count - MemoryLayout<ws_block>.size - MemoryLayout<ws_event>.size)
            .assumingMemoryBound(to: ws_event.self).pointee.length = UInt64(length)
        size += length
        hasLent = true
        return true
    }

    /// Not even the log could grow: without it nothing can be told to the script, this included.
    private func outOfMemory() -> Never {
        _ = "websocket: out of memory for the event log\n".withCString { write(STDERR_FILENO, $0, strlen($0)) }
        abort()
    }

    /// Puts the records of `other` behind these and leaves it empty; by exchange when this log is empty. Returns false, and
    /// changes nothing, when there is no memory.
    public mutating func take(_ other: inout EventRecords) -> Bool {
        if isEmpty {
            swap(&records, &other.records)
            swap(&count, &other.count)
            swap(&size, &other.size)
            swap(&hasLent, &other.hasLent)
            return true
        }
        guard records.append(UnsafeRawBufferPointer(other.records.bytes)) else { return false }
        count += other.count
        size += other.size
        hasLent = hasLent || other.hasLent
        other.forget()
        return true
    }

    /// Empties a log whose records were delivered and given back.
    public mutating func removeAll() {
        freeLent()
        forget()
    }

    private mutating func forget() {
        records.removeAll(keepingAtMost: records.count < Self.idleCapacity / 4 ? Self.idleCapacity : .max)
        count = 0
        size = 0
        hasLent = false
    }

    private func freeLent() {
        guard hasLent, var p = records.bytes.baseAddress else { return }
        let end = p + records.count
        while p < end {
            let event = p.assumingMemoryBound(to: ws_event.self)
            if Int32(event.pointee.flags) & Int32(WS_EVENT_LENT) != 0 {
                free((p + MemoryLayout<ws_event>.size).load(as: ws_block.self).bytes)
            }
            p += ws_event_size(event)
        }
    }

    // MARK: - Memory of delivered messages

    /// Keeps the memory of a delivered message for the next; false when there is enough.
    public mutating func keep(_ block: ws_block) -> Bool {
        guard block.capacity <= UInt64(Self.spareLimit - spareSize) else { return false }
        spares.append(block)
        spareSize += Int(block.capacity)
        return true
    }

    /// Moves kept memory from `other` to where the next messages are put together.
    public mutating func takeSpares(of other: inout EventRecords) {
        var count = 0
        while count < other.spares.count, keep(other.spares[count]) {
            other.spareSize -= Int(other.spares[count].capacity)
            count += 1
        }
        other.spares.removeFirst(count)
    }

    private mutating func removeSpare(at index: Int) -> ws_block {
        spareSize -= Int(spares[index].capacity)
        return spares.remove(at: index)
    }

    /// An empty buffer of at least `minimum` bytes if one is kept.
    mutating func spare(_ minimum: Int) -> ByteBuffer? {
        guard let index = spares.lastIndex(where: { $0.capacity >= UInt64(minimum) }) else { return nil }
        let block = removeSpare(at: index)
        return ByteBuffer(adopting: block.bytes, capacity: Int(block.capacity))
    }

    /// Nothing large has come for a while.
    public mutating func freeSpares() {
        for block in spares { free(block.bytes) }
        spares = []
        spareSize = 0
    }
}
