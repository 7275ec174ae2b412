import CEvents
import CLinux
import Glibc
import TestSupport
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

@Suite struct EventQueueTests: ~Copyable {
    private let queue: EventQueue
    private var engine = EventQueueTests.largeMessage()
    private var lua = EventRecords()

    /// A large message is at Lua.
    init() {
        queue = EventQueue()
        queue.publish(&engine)
        queue.take(&lua)
    }

    /// One record with a detached block.
    private static func largeMessage() -> EventRecords {
        var records = EventRecords()
        var message = ByteBuffer()
        message.reserve(1 << 20)
        message.didWrite(1 << 20)
        let isAppended = records.append(type: WS_EVENT_BINARY, socket: 0, moving: &message)
        precondition(isAppended)
        return records
    }

    /// Removes the block of the first record.
    private static func removeBlock(from records: borrowing EventRecords) -> ws_block {
        var elements = records.elements
        return elements.next()!.removeBlock()!
    }

    @Test mutating func memoryThatLuaGivesBackIsTheEnginesAgain() {
        // Given back behind a publish, it went to Lua's side with the next take, and stayed there.
        let block = Self.removeBlock(from: lua)
        engine = Self.largeMessage()
        queue.publish(&engine)
        queue.giveBack(block)
        queue.take(&lua)
        #expect(lua.countBlocks() == 0)
        queue.giveBack(Self.removeBlock(from: lua))
        engine = Self.largeMessage()
        queue.publish(&engine)
        #expect(engine.countBlocks() == 2)
    }

    @Test mutating func memoryIsNotKeptOnceNothingLargeComes() {
        queue.freePooledBlocks()
        queue.giveBack(Self.removeBlock(from: lua))
        engine.append(line: "small", socket: 0)
        queue.publish(&engine)
        #expect(engine.countBlocks() == 0)
    }

    /// They wait as they are, and Lua takes one after the other.
    @Test(.enabled(if: canExhaustMemory)) func logsThatCanNotBeAppendedForLackOfMemoryAreNotLost() async {
        await #expect(processExitsWith: .success) {
            let queue = EventQueue()
            var logs: [Rest] = []
            for byte in 1...3 as ClosedRange<UInt8> {
                let rest = Rest()
                let payload = [UInt8](repeating: byte, count: 100_000)
                let isAppended = payload.withUnsafeBytes { rest.records.append(type: WS_EVENT_TEXT, socket: 0, $0) }
                precondition(isAppended)
                logs.append(rest)
            }
            withoutMemory { for rest in logs { queue.publish(&rest.records) } }
            precondition(queue.count == 3)
            var taken = EventRecords()
            for byte in 1...3 as ClosedRange<UInt8> {
                queue.take(&taken)
                precondition(taken.count == 1 && taken.elements.allSatisfy { $0.payload.first == byte })
            }
            precondition(queue.isEmpty)
        }
    }

    private final class Rest {
        var records = EventRecords()
    }
}

extension EventRecords {
    /// Takes all blocks out of the pool and counts them.
    fileprivate mutating func countBlocks() -> Int {
        var count = 0
        while let block = pool.take(atLeast: 1) {
            _ = consume block
            count += 1
        }
        return count
    }
}
