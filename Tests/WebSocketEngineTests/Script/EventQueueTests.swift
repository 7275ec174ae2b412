import CEvents
import Glibc
import TestSupport
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

@Suite struct EventQueueTests: ~Copyable {
    private let queue: EventQueue
    private var engine = EventQueueTests.log()
    private var lua = EventRecords()

    /// A large message is at Lua.
    init() {
        queue = EventQueue()
        queue.publish(&engine)
        queue.take(&lua)
    }

    /// A log with a message that is lent.
    private static func log() -> EventRecords {
        var log = EventRecords()
        var message = ByteBuffer()
        message.reserve(1 << 20)
        message.produced(1 << 20)
        let isAppended = log.append(type: WS_EVENT_BINARY, socket: 0, taking: &message)
        precondition(isAppended)
        return log
    }

    /// The memory of the message in the log, which is then the caller's.
    private static func block(of log: borrowing EventRecords) -> ws_block {
        let event = log.bytes.baseAddress!.assumingMemoryBound(to: ws_event.self)
        event.pointee.flags &= ~UInt8(WS_EVENT_LENT)
        defer { event.pointee.length = UInt64(MemoryLayout<ws_block>.size) }
        return (log.bytes.baseAddress! + MemoryLayout<ws_event>.size).load(as: ws_block.self)
    }

    @Test mutating func memoryThatLuaGivesBackIsTheEnginesAgain() {
        // Given back behind a publish, it went to Lua's side with the next take, and stayed there.
        let block = Self.block(of: lua)
        engine = Self.log()
        queue.publish(&engine)
        queue.giveBack(block)
        queue.take(&lua)
        #expect(lua.countSpares() == 0)
        queue.giveBack(Self.block(of: lua))
        engine = Self.log()
        queue.publish(&engine)
        #expect(engine.countSpares() == 2)
    }

    @Test mutating func memoryIsNotKeptOnceNothingLargeComes() {
        queue.freeSpares()
        queue.giveBack(Self.block(of: lua))
        engine.append(line: "small", socket: 0)
        queue.publish(&engine)
        #expect(engine.countSpares() == 0)
    }

    /// They wait as they are, and Lua takes one after the other.
    @Test func logsThatCanNotBeAppendedForLackOfMemoryAreNotLost() async {
        await #expect(processExitsWith: .success) {
            let queue = EventQueue()
            var logs: [Rest] = []
            for byte in 1...3 as ClosedRange<UInt8> {
                let rest = Rest()
                let payload = [UInt8](repeating: byte, count: 100_000)
                let isAppended = payload.withUnsafeBytes { rest.log.append(type: WS_EVENT_TEXT, socket: 0, $0) }
                precondition(isAppended)
                logs.append(rest)
            }
            withoutMemory { for rest in logs { queue.publish(&rest.log) } }
            precondition(queue.count == 3)
            var taken = EventRecords()
            for byte in 1...3 as ClosedRange<UInt8> {
                queue.take(&taken)
                precondition(taken.count == 1 && taken.bytes[MemoryLayout<ws_event>.size] == byte)
            }
            precondition(queue.isEmpty)
        }
    }

    private final class Rest {
        var log = EventRecords()
    }
}

extension EventRecords {
    /// Takes all spares out.
    fileprivate mutating func countSpares() -> Int {
        var count = 0
        while let spare = spare(1) {
            _ = consume spare
            count += 1
        }
        return count
    }
}
