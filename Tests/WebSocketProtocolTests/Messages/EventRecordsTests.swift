import CEvents
import Glibc
import TestSupport
import Testing

@testable import WebSocketProtocol

@Suite struct EventRecordsTests {
    @Test func aNewLogIsEmpty() {
        let log = EventRecords()
        #expect(log.isEmpty == true)
        #expect(log.size == 0)
        #expect(log.records() == [])
    }

    @Test func recordsStandInOrder() {
        var log = EventRecords()
        log.add(WS_EVENT_TEXT, Array("Hello".utf8), socket: 7)
        log.add(WS_EVENT_PING, [])
        log.add(WS_EVENT_BINARY, noise(100))
        log.append(essential: WS_EVENT_ENDED, socket: 9, flags: WS_EVENT_FINAL, .init(start: nil, count: 0))
        #expect(
            log.records() == [
                Record(event: .text("Hello"), socket: 7), Record(event: .ping([])),
                Record(event: .binary(noise(100))),
                Record(event: .other(type: WS_EVENT_ENDED, []), socket: 9, flags: WS_EVENT_FINAL),
            ])
    }

    /// CEvents.h: a header of 16 bytes, then the payload padded to 8.
    @Test func theLayoutOfARecord() {
        var log = EventRecords()
        log.add(WS_EVENT_PONG, [0xAA, 0xBB, 0xCC], socket: 0x0403_0201)
        log.add(WS_EVENT_PONG, [])
        let bytes = Array(log.bytes)
        #expect(bytes.prefix(19) == [1, 2, 3, 4, 5, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0xAA, 0xBB, 0xCC])
        #expect(bytes.count == 16 + 8 + 16)
        #expect(log.size == bytes.count)
    }

    @Test func aPayloadMayBeWrittenWhereItStays() throws {
        var log = EventRecords()
        log.add(WS_EVENT_PING, [1])
        let begun = log.begin()
        let start = try #require(begun)
        for byte in "Hello".utf8 { log.records.append([byte]) }
        #expect(Array(log.payload(from: start)) == Array("Hello".utf8))
        let ended = log.end(start, type: WS_EVENT_TEXT, socket: 7)
        #expect(ended)
        log.add(WS_EVENT_PONG, [2])
        #expect(
            log.records() == [
                Record(event: .ping([1])), Record(event: .text("Hello"), socket: 7),
                Record(event: .pong([2])),
            ])
        #expect(log.size == 3 * (16 + 8))
    }

    @Test func aRecordThatIsDroppedLeavesNothing() throws {
        var log = EventRecords()
        log.add(WS_EVENT_PING, [1])
        let begun = log.begin()
        let start = try #require(begun)
        log.records.append(noise(100_000))
        log.drop(start)
        log.add(WS_EVENT_PONG, [2])
        #expect(log.records() == [Record(event: .ping([1])), Record(event: .pong([2]))])
        #expect(log.size == 2 * (16 + 8))
    }

    // MARK: - Lent messages

    @Test func aLargeMessageIsLentWithItsMemory() throws {
        var log = EventRecords()
        let content = noise(16 << 10)
        var message = ByteBuffer(content)
        let memory = message.bytes.baseAddress
        let isAppended = log.append(type: WS_EVENT_BINARY, socket: 1, taking: &message)
        #expect(isAppended)
        let record = try #require(log.records().first)
        #expect(record.event == .binary(content))
        #expect(record.isLent)
        #expect(record.block == memory)
        #expect(record.capacity == 16 << 10)
        #expect(log.bytes.count == 32)
        #expect(log.size == 32 + 16 << 10, "what it lends counts")
        #expect(message.count == 0)
        #expect(message.capacity == 0)
    }

    @Test func aSmallerMessageIsCopied() throws {
        var log = EventRecords()
        let content = noise(16 << 10 - 1)
        var message = ByteBuffer(content)
        let isAppended = log.append(type: WS_EVENT_BINARY, socket: 1, taking: &message)
        #expect(isAppended)
        let record = try #require(log.records().first)
        #expect(record.event == .binary(content))
        #expect(!record.isLent)
        #expect(message.capacity == 0)
    }

    @Test func removingFreesWhatWasLent() {
        var log = EventRecords()
        for _ in 0..<3 {
            log.lend(20_000)
            log.add(WS_EVENT_TEXT, [0x61])
        }
        #expect(log.records().count == 6)
        log.removeAll()
        #expect(log.records() == [])
        #expect(log.size == 0)
        log.lend(20_000)
    }

    // MARK: - Passing on

    @Test func anEmptyLogTakesByExchange() {
        var log = EventRecords()
        var other = EventRecords()
        other.add(WS_EVENT_TEXT, [0x61])
        other.lend(20_000)
        let memory = other.bytes.baseAddress
        #expect(takes(&log, &other))
        #expect(log.bytes.baseAddress == memory)
        #expect(log.records().count == 2)
        #expect(other.records() == [])
        #expect(other.size == 0)
    }

    @Test func anotherLogTakesBehindItsOwn() {
        var log = EventRecords()
        var other = EventRecords()
        log.lend(20_000)
        other.add(WS_EVENT_TEXT, [0x61])
        other.lend(30_000)
        #expect(takes(&log, &other))
        #expect(log.events() == [.binary(noise(20_000)), .text("a"), .binary(noise(30_000))])
        #expect(other.records() == [])
        #expect(other.size == 0)
        #expect(takes(&log, &other))
        #expect(log.records().count == 3)
    }

    @Test func theMemoryOfABurstIsGivenBackWhenItIsOver() {
        var log = EventRecords()
        log.add(WS_EVENT_BINARY, noise(2 << 20))
        log.removeAll()
        #expect(log.bytes.baseAddress != nil, "there may be more of it")
        log.add(WS_EVENT_TEXT, [0x61])
        log.removeAll()
        #expect(log.bytes.baseAddress == nil)
        log.add(WS_EVENT_BINARY, noise(100_000))
        log.removeAll()
        #expect(log.bytes.baseAddress != nil, "so much is kept")
    }

    private func takes(_ log: inout EventRecords, _ other: inout EventRecords) -> Bool { log.take(&other) }

    /// What is left free by messages is for the words about it.
    @Test func withoutMemoryMessagesAreRefusedAndErrorsAreNot() async {
        await #expect(processExitsWith: .success) {
            var log = EventRecords()
            log.add(WS_EVENT_BINARY, [0x61])
            let payload = noise(10_000)
            var message = ByteBuffer(noise(100_000))
            let text = [UInt8](repeating: 0x61, count: 3000)
            let (isCopied, isLent) = withoutMemory {
                let isCopied = payload.withUnsafeBytes { log.append(type: WS_EVENT_BINARY, socket: 0, $0) }
                // As many small ones as there is room for.
                while text.withUnsafeBytes({ log.append(type: WS_EVENT_TEXT, socket: 0, $0) }) {}
                let isLent = log.append(type: WS_EVENT_BINARY, socket: 0, taking: &message)
                text.withUnsafeBytes { log.append(essential: WS_EVENT_ERROR, socket: 0, $0) }
                return (isCopied, isLent)
            }
            precondition(!isCopied && !isLent && message.count == 100_000)
            let events = log.events()
            precondition(events.first == .binary([0x61]) && events.last == .other(type: WS_EVENT_ERROR, text))
        }
    }

    @Test func withoutMemoryALogIsNotTaken() async {
        await #expect(processExitsWith: .success) {
            var log = EventRecords()
            var other = EventRecords()
            log.add(WS_EVENT_BINARY, [0x61])
            other.add(WS_EVENT_BINARY, noise(10_000))
            let isTaken = withoutMemory { log.take(&other) }
            precondition(!isTaken && log.count == 1 && other.count == 1)
        }
    }

    /// Nothing could be told to the script any more.
    @Test func withoutAnyMemoryTheProcessEnds() async {
        await #expect(processExitsWith: .signal(SIGABRT)) {
            var log = EventRecords()
            let payload = noise(10_000)
            withoutMemory { payload.withUnsafeBytes { log.append(essential: WS_EVENT_ERROR, socket: 0, $0) } }
        }
    }

    // MARK: - Spares

    @Test func memoryGivenBackIsASpare() throws {
        var log = EventRecords()
        let block = Self.block(50_000)
        _ = log.keep(block)
        let tooLarge = log.spare(50_001) == nil
        #expect(tooLarge)
        let spare = log.takeSpare(20_000)
        #expect(spare == block.bytes)
        let again = log.takeSpare(1)
        #expect(again == nil)
    }

    @Test func theLatestSpareIsTheFirstToBeUsed() {
        var log = EventRecords()
        let blocks = (0..<3).map { _ in Self.block(20_000) }
        for block in blocks { _ = log.keep(block) }
        let first = log.takeSpare(1)
        #expect(first == blocks[2].bytes)
        let second = log.takeSpare(1)
        #expect(second == blocks[1].bytes)
    }

    @Test func sparesOf16MiBAreKept() {
        var log = EventRecords()
        for _ in 0..<17 { log.give(1 << 20) }
        #expect(log.countSpares() == 16)
        // What was taken out makes room.
        log.give(16 << 20)
        log.give(1)
        #expect(log.countSpares() == 1)
        log.give(16 << 20 + 1)
        #expect(log.countSpares() == 0)
    }

    @Test func sparesGoWhereTheNextMessagesAre() {
        var log = EventRecords()
        var other = EventRecords()
        for _ in 0..<10 {
            log.give(1 << 20)
            other.give(1 << 20)
        }
        log.takeSpares(of: &other)
        #expect(log.countSpares() == 16)
        #expect(other.countSpares() == 4)
        log.takeSpares(of: &other)
        #expect(log.countSpares() == 0)
    }

    @Test func sparesAreFreed() {
        var log = EventRecords()
        for _ in 0..<20 {
            for _ in 0..<16 { log.give(1 << 20) }
            log.freeSpares()
        }
        #expect(log.countSpares() == 0)
        log.give(16 << 20)
        #expect(log.countSpares() == 1)
    }

    private static func block(_ capacity: Int) -> ws_block {
        ws_block(bytes: malloc(capacity), capacity: UInt64(capacity))
    }
}

extension EventRecords {
    fileprivate mutating func add(_ type: Int, _ payload: [UInt8], socket: UInt32 = 0) {
        let isAppended = payload.withUnsafeBytes { append(type: type, socket: socket, $0) }
        precondition(isAppended)
    }

    fileprivate mutating func lend(_ count: Int) {
        var message = ByteBuffer(noise(count))
        let isAppended = append(type: WS_EVENT_BINARY, socket: 0, taking: &message)
        precondition(isAppended)
    }

    /// Keeps a new block, or frees it.
    fileprivate mutating func give(_ capacity: Int) {
        let block = ws_block(bytes: malloc(capacity), capacity: UInt64(capacity))
        if !keep(block) { free(block.bytes) }
    }

    /// The address of a spare, which is freed.
    fileprivate mutating func takeSpare(_ minimum: Int) -> UnsafeMutableRawPointer? {
        let spare = spare(minimum)
        return spare?.space.baseAddress
    }

    /// Takes all spares out.
    fileprivate mutating func countSpares() -> Int {
        var count = 0
        while takeSpare(1) != nil { count += 1 }
        return count
    }
}
