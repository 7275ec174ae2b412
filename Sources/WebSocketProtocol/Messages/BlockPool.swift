// Memory blocks of delivered messages, kept for the next large messages: a stream of them reuses blocks instead of
// asking the system for pages and giving them back each time. Owned by EventRecords, used by the thread that owns
// those.

public import CEvents
import Glibc

// Sendable: there is one owner, and the blocks go with it.
public struct BlockPool: ~Copyable, @unchecked Sendable {
    private var blocks: [ws_block] = []
    /// The sum of the blocks' capacities.
    private var size = 0

    /// Upper bound of `size`, in bytes.
    private static let maximumSize = 16 << 20

    init() {}

    deinit {
        for block in blocks { free(block.bytes) }
    }

    public var isEmpty: Bool { size == 0 }

    /// Adds a block. Returns false when the pool is full: the block stays the caller's.
    public mutating func put(_ block: ws_block) -> Bool {
        guard block.capacity <= UInt64(Self.maximumSize - size) else { return false }
        blocks.append(block)
        size += Int(block.capacity)
        return true
    }

    /// Removes a block of at least `minimum` bytes and returns it as an empty buffer; nil when there is none. The block
    /// that was put last is taken first: most of it is still in the processor's cache.
    mutating func take(atLeast minimum: Int) -> ByteBuffer? {
        guard let index = blocks.lastIndex(where: { $0.capacity >= UInt64(minimum) }) else { return nil }
        let block = blocks.remove(at: index)
        size -= Int(block.capacity)
        return ByteBuffer(adopting: block.bytes, capacity: Int(block.capacity))
    }

    /// Moves blocks from `other` into this pool until it is full.
    public mutating func moveBlocks(from other: inout BlockPool) {
        var count = 0
        while count < other.blocks.count, put(other.blocks[count]) {
            other.size -= Int(other.blocks[count].capacity)
            count += 1
        }
        other.blocks.removeFirst(count)
    }

    /// Frees all blocks.
    public mutating func removeAll() {
        for block in blocks { free(block.bytes) }
        blocks = []
        size = 0
    }
}
