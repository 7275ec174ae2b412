import CEvents
import Glibc
import Testing

@testable import WebSocketProtocol

@Suite struct BlockPoolTests: ~Copyable {
    private var pool = BlockPool()

    @Test mutating func aBlockComesBackIfItIsLargeEnough() {
        let block = Self.block(50_000)
        _ = pool.put(block)
        #expect(take(50_001) == nil)
        #expect(take(20_000) == block.bytes)
        #expect(take(1) == nil)
    }

    @Test mutating func theLastOneIsTheFirstToBeTaken() {
        let blocks = (0..<3).map { _ in Self.block(20_000) }
        for block in blocks { _ = pool.put(block) }
        #expect(take(1) == blocks[2].bytes)
        #expect(take(1) == blocks[1].bytes)
    }

    @Test mutating func itHolds16MiB() {
        for _ in 0..<17 { pool.put(1 << 20) }
        #expect(pool.takeAll() == 16)
        // Blocks that were taken out leave room.
        pool.put(16 << 20)
        pool.put(1)
        #expect(pool.takeAll() == 1)
        pool.put(16 << 20 + 1)
        #expect(pool.takeAll() == 0)
    }

    @Test mutating func blocksMoveUntilThePoolIsFull() {
        var other = BlockPool()
        for _ in 0..<10 {
            pool.put(1 << 20)
            other.put(1 << 20)
        }
        pool.moveBlocks(from: &other)
        #expect(pool.takeAll() == 16)
        #expect(other.takeAll() == 4)
        pool.moveBlocks(from: &other)
        #expect(pool.takeAll() == 0)
    }

    @Test mutating func removedBlocksLeaveRoom() {
        for _ in 0..<20 {
            for _ in 0..<16 { pool.put(1 << 20) }
            pool.removeAll()
        }
        #expect(pool.takeAll() == 0)
        pool.put(16 << 20)
        #expect(pool.takeAll() == 1)
    }

    /// The address of a block, which is freed.
    private mutating func take(_ minimum: Int) -> UnsafeMutableRawPointer? { pool.takeAddress(minimum) }

    private static func block(_ capacity: Int) -> ws_block {
        ws_block(bytes: malloc(capacity), capacity: UInt64(capacity))
    }
}

extension BlockPool {
    /// Puts a new block into the pool, or frees it.
    fileprivate mutating func put(_ capacity: Int) {
        let block = ws_block(bytes: malloc(capacity), capacity: UInt64(capacity))
        if !put(block) { free(block.bytes) }
    }

    /// The address of a block, which is freed.
    fileprivate mutating func takeAddress(_ minimum: Int) -> UnsafeMutableRawPointer? {
        let buffer = take(atLeast: minimum)
        return buffer?.writableBytes.baseAddress
    }

    /// Takes all blocks out and counts them.
    fileprivate mutating func takeAll() -> Int {
        var count = 0
        while takeAddress(1) != nil { count += 1 }
        return count
    }
}
