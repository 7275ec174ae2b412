import CEvents
import Glibc
import TestSupport
import Testing

@testable import WebSocketProtocol

@Suite struct EventRecordsTests {
    @Test func emptyAtFirst() {
        let records = EventRecords()
        #expect(records.isEmpty == true)
        #expect(records.size == 0)
        #expect(records.records() == [])
    }

    @Test func recordsStandInOrder() {
        var records = EventRecords()
        records.add(WS_EVENT_TEXT, Array("Hello".utf8), socket: 7)
        records.add(WS_EVENT_PING, [])
        records.add(WS_EVENT_BINARY, noise(100))
        records.append(essential: WS_EVENT_ENDED, socket: 9, flags: WS_EVENT_FINAL, .init(start: nil, count: 0))
        #expect(
            records.records() == [
                Record(event: .text("Hello"), socket: 7), Record(event: .ping([])),
                Record(event: .binary(noise(100))),
                Record(event: .other(type: WS_EVENT_ENDED, []), socket: 9, flags: WS_EVENT_FINAL),
            ])
    }

    /// CEvents.h: a header of 16 bytes, then the payload padded to 8.
    @Test func theLayoutOfARecord() {
        var records = EventRecords()
        records.add(WS_EVENT_PONG, [0xAA, 0xBB, 0xCC], socket: 0x0403_0201)
        records.add(WS_EVENT_PONG, [])
        let bytes = Array(records.bytes)
        #expect(bytes.prefix(19) == [1, 2, 3, 4, 5, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0xAA, 0xBB, 0xCC])
        #expect(bytes.count == 16 + 8 + 16)
        #expect(records.size == bytes.count)
    }

    @Test func aPayloadIsWrittenInPlace() throws {
        var records = EventRecords()
        records.add(WS_EVENT_PING, [1])
        let begun = records.beginRecord()
        let start = try #require(begun)
        for byte in "Hello".utf8 { records.buffer.append([byte]) }
        #expect(Array(records.payload(from: start)) == Array("Hello".utf8))
        let ended = records.commitRecord(start, type: WS_EVENT_TEXT, socket: 7)
        #expect(ended)
        records.add(WS_EVENT_PONG, [2])
        #expect(
            records.records() == [
                Record(event: .ping([1])), Record(event: .text("Hello"), socket: 7),
                Record(event: .pong([2])),
            ])
        #expect(records.size == 3 * (16 + 8))
    }

    @Test func aDiscardedRecordLeavesNothing() throws {
        var records = EventRecords()
        records.add(WS_EVENT_PING, [1])
        let begun = records.beginRecord()
        let start = try #require(begun)
        records.buffer.append(noise(100_000))
        records.discardRecord(start)
        records.add(WS_EVENT_PONG, [2])
        #expect(records.records() == [Record(event: .ping([1])), Record(event: .pong([2]))])
        #expect(records.size == 2 * (16 + 8))
    }

    // MARK: - Detached blocks

    @Test func aLargeMessageBecomesADetachedBlock() throws {
        var records = EventRecords()
        let content = noise(16 << 10)
        var message = ByteBuffer(content)
        let memory = message.bytes.baseAddress
        let isAppended = records.append(type: WS_EVENT_BINARY, socket: 1, moving: &message)
        #expect(isAppended)
        let record = try #require(records.records().first)
        #expect(record.event == .binary(content))
        #expect(record.isDetached)
        #expect(record.block == memory)
        #expect(record.capacity == 16 << 10)
        #expect(records.bytes.count == 32)
        #expect(records.size == 32 + 16 << 10, "the detached message counts")
        #expect(message.count == 0)
        #expect(message.capacity == 0)
    }

    @Test func aSmallerMessageIsCopied() throws {
        var records = EventRecords()
        let content = noise(16 << 10 - 1)
        var message = ByteBuffer(content)
        let isAppended = records.append(type: WS_EVENT_BINARY, socket: 1, moving: &message)
        #expect(isAppended)
        let record = try #require(records.records().first)
        #expect(record.event == .binary(content))
        #expect(!record.isDetached)
        #expect(message.capacity == 0)
    }

    @Test func removingFreesDetachedBlocks() {
        var records = EventRecords()
        for _ in 0..<3 {
            records.addDetached(20_000)
            records.add(WS_EVENT_TEXT, [0x61])
        }
        #expect(records.records().count == 6)
        records.removeAll()
        #expect(records.records() == [])
        #expect(records.size == 0)
        records.addDetached(20_000)
    }

    @Test func aRecordKeepsItsSizeWithoutItsBlock() throws {
        var records = EventRecords()
        records.addDetached(20_000)
        records.add(WS_EVENT_PING, [1, 2, 3])
        var elements = records.elements
        let (first, second) = (elements.next(), elements.next())
        let large = try #require(first)
        let small = try #require(second)
        #expect(large.countedSize == 32 + 20_000 && small.countedSize == small.size)
        #expect(small.removeBlock() == nil)
        let block = try #require(large.removeBlock())
        #expect(large.size == 32 && large.block == nil && large.countedSize == 32)
        #expect(records.elements.map(\.type) == [WS_EVENT_BINARY, WS_EVENT_PING])
        free(block.bytes)
    }

    // MARK: - Moving

    @Test func withoutRecordsMovingIsAnExchange() {
        var records = EventRecords()
        var other = EventRecords()
        other.add(WS_EVENT_TEXT, [0x61])
        other.addDetached(20_000)
        let memory = other.bytes.baseAddress
        #expect(move(&other, to: &records))
        #expect(records.bytes.baseAddress == memory)
        #expect(records.records().count == 2)
        #expect(other.records() == [])
        #expect(other.size == 0)
    }

    @Test func movedRecordsStandBehindTheOthers() {
        var records = EventRecords()
        var other = EventRecords()
        records.addDetached(20_000)
        other.add(WS_EVENT_TEXT, [0x61])
        other.addDetached(30_000)
        #expect(move(&other, to: &records))
        #expect(records.events() == [.binary(noise(20_000)), .text("a"), .binary(noise(30_000))])
        #expect(other.records() == [])
        #expect(other.size == 0)
        #expect(move(&other, to: &records))
        #expect(records.records().count == 3)
    }

    @Test func theMemoryOfABurstIsFreedWhenItIsOver() {
        var records = EventRecords()
        records.add(WS_EVENT_BINARY, noise(2 << 20))
        records.removeAll()
        #expect(records.bytes.baseAddress != nil, "there may be more of it")
        records.add(WS_EVENT_TEXT, [0x61])
        records.removeAll()
        #expect(records.bytes.baseAddress == nil)
        records.add(WS_EVENT_BINARY, noise(100_000))
        records.removeAll()
        #expect(records.bytes.baseAddress != nil, "1 MiB is kept")
    }

    private func move(_ other: inout EventRecords, to records: inout EventRecords) -> Bool {
        records.moveRecords(from: &other)
    }

    /// Messages leave memory free for the ERROR that reports the lack of it.
    @Test(.enabled(if: canExhaustMemory)) func withoutMemoryMessagesAreRefusedAndErrorsAreNot() async {
        await #expect(processExitsWith: .success) {
            var records = EventRecords()
            records.add(WS_EVENT_BINARY, [0x61])
            let payload = noise(10_000)
            var message = ByteBuffer(noise(100_000))
            let text = [UInt8](repeating: 0x61, count: 3000)
            let (isCopied, isMoved) = withoutMemory {
                let isCopied = payload.withUnsafeBytes { records.append(type: WS_EVENT_BINARY, socket: 0, $0) }
                // As many small ones as fit.
                while text.withUnsafeBytes({ records.append(type: WS_EVENT_TEXT, socket: 0, $0) }) {}
                let isMoved = records.append(type: WS_EVENT_BINARY, socket: 0, moving: &message)
                text.withUnsafeBytes { records.append(essential: WS_EVENT_ERROR, socket: 0, $0) }
                return (isCopied, isMoved)
            }
            precondition(!isCopied && !isMoved && message.count == 100_000)
            let events = records.events()
            precondition(events.first == .binary([0x61]) && events.last == .other(type: WS_EVENT_ERROR, text))
        }
    }

    @Test(.enabled(if: canExhaustMemory)) func withoutMemoryNoRecordsAreMoved() async {
        await #expect(processExitsWith: .success) {
            var records = EventRecords()
            var other = EventRecords()
            records.add(WS_EVENT_BINARY, [0x61])
            other.add(WS_EVENT_BINARY, noise(10_000))
            let areMoved = withoutMemory { records.moveRecords(from: &other) }
            precondition(!areMoved && records.count == 1 && other.count == 1)
        }
    }

    @Test(.enabled(if: canExhaustMemory)) func withoutAnyMemoryTheProcessEnds() async {
        await #expect(processExitsWith: .signal(SIGABRT)) {
            var records = EventRecords()
            let payload = noise(10_000)
            withoutMemory { payload.withUnsafeBytes { records.append(essential: WS_EVENT_ERROR, socket: 0, $0) } }
        }
    }
}

extension EventRecords {
    fileprivate mutating func add(_ type: Int, _ payload: [UInt8], socket: UInt32 = 0) {
        let isAppended = payload.withUnsafeBytes { append(type: type, socket: socket, $0) }
        precondition(isAppended)
    }

    fileprivate mutating func addDetached(_ count: Int) {
        var message = ByteBuffer(noise(count))
        let isAppended = append(type: WS_EVENT_BINARY, socket: 0, moving: &message)
        precondition(isAppended)
    }
}
