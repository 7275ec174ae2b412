import Glibc
import Testing
import WebSocketProtocol

@testable import WebSocketEngine

@Suite struct OutboxTests {
    /// Appends a text message; returns what came of it and whether the engine must be told.
    private func send(
        _ text: String, _ outbox: inout Outbox, limit: Int = 1 << 20, directly: Bool = false
    ) -> (SendResult, wakes: Bool) {
        var random = RandomPool()
        var wakes = false
        let bytes = Array(text.utf8)
        let result = bytes.withUnsafeBytes { buffer in
            withUnsafePointer(to: buffer) {
                outbox.append(
                    .text, UnsafeBufferPointer(start: $0, count: 1), count: bytes.count, limit: limit, random: &random,
                    directly: directly, wakes: &wakes)
            }
        }
        return (result, wakes)
    }

    @Test func refusesUntilOpenAndAfterStop() {
        var outbox = Outbox()
        #expect(send("x", &outbox).0 == .notOpen)
        outbox.openForTest()
        #expect(send("x", &outbox).0 == .sent)
        outbox.stop()
        #expect(send("x", &outbox).0 == .notOpen)
    }

    @Test func tellsTheEngineOnceForABurst() {
        var outbox = Outbox()
        outbox.openForTest()
        #expect(send("a", &outbox).wakes)
        #expect(!send("b", &outbox).wakes)
        var taken = ByteBuffer()
        outbox.take(&taken)
        // Two frames of 2 bytes header, 4 of mask, 1 of payload.
        #expect(taken.count == 14)
        #expect(outbox.count == 14)
        #expect(!send("c", &outbox).wakes)
        taken.removeAll()
        outbox.take(&taken)
        taken.removeAll()
        outbox.take(&taken)
        #expect(outbox.count == 0)
        #expect(send("d", &outbox).wakes)
    }

    @Test func whileTheEngineLingersItIsToldWhenThereIsEnough() {
        var outbox = Outbox()
        outbox.openForTest()
        #expect(send("a", &outbox).wakes)
        var taken = ByteBuffer()
        outbox.take(&taken)
        #expect(outbox.count == 7)
        // 2 bytes of header, 4 of mask, 1 of payload: 21 bytes are three messages.
        let lingers = outbox.linger(until: 21)
        #expect(lingers)
        #expect(outbox.count == 0, "what was taken is written")
        #expect(!send("b", &outbox).wakes)
        #expect(!send("c", &outbox).wakes)
        #expect(send("d", &outbox).wakes)
        #expect(!send("e", &outbox).wakes, "once")
        let lingersAgain = outbox.linger(until: 21)
        #expect(!lingersAgain)
        taken.removeAll()
        outbox.take(&taken)
        #expect(taken.count == 28)
    }

    @Test func beyondTheLimitNothingIsTaken() {
        var outbox = Outbox()
        outbox.openForTest()
        #expect(send("12345", &outbox, limit: 20).0 == .sent)
        let before = outbox.count
        guard case .failed(let reason) = send("1234567890", &outbox, limit: 20).0 else {
            Issue.record("a message beyond maxbuffered was taken")
            return
        }
        #expect(reason.contains("maxbuffered"))
        #expect(outbox.count == before)
    }

    @Test func adviceToWaitOnlyWhereItHelps() {
        var outbox = Outbox()
        outbox.openForTest()
        #expect(send("12345", &outbox, limit: 20).0 == .sent)
        #expect(
            send(String(repeating: "x", count: 20), &outbox, limit: 20).0
                == .failed(
                    "20 bytes beside the 11 that wait are more than maxbuffered (20); send less, or wait until "
                        + "bufferedamount has fallen"))
        #expect(
            send(String(repeating: "x", count: 21), &outbox, limit: 20).0
                == .failed("21 bytes are more than maxbuffered (20)"))
    }

    @Test func compressedConnectionsQueueFramesWithoutMasks() {
        var outbox = Outbox()
        outbox.openForTest(deflating: true)
        _ = send("abc", &outbox)
        var taken = ByteBuffer()
        outbox.take(&taken)
        #expect(Array(taken.bytes) == [0x81, 0x03, 0x61, 0x62, 0x63])
    }

    @Test func firstMessageGoesStraightToTheSocket() {
        var pair: [Int32] = [0, 0]
        socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair)
        defer { pair.forEach { close($0) } }
        var outbox = Outbox()
        outbox.openForTest(direct: pair[0])
        outbox.watch(true)
        #expect(send("hi", &outbox, directly: true) == (.sent, false))
        #expect(outbox.count == 0)
        var received = [UInt8](repeating: 0, count: 16)
        #expect(recv(pair[1], &received, 16, Int32(MSG_DONTWAIT)) == 8)
        #expect(received[..<2] == [0x81, 0x82])
        // While the engine has some of its own to write, nothing may overtake it.
        var wire = ByteBuffer()
        outbox.claim(&wire)
        #expect(wire.count == 0)
        #expect(send("hi", &outbox, directly: true) == (.sent, false))
        #expect(recv(pair[1], &received, 16, Int32(MSG_DONTWAIT)) == -1)
        outbox.claim(&wire)
        #expect(wire.count == 0, "a frame that was not begun may wait")
        #expect(outbox.close() == 8)
    }

    @Test func theRestOfAMessageThatIsHalfWrittenGoesFirst() {
        var pair: [Int32] = [0, 0]
        socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair)
        defer { pair.forEach { close($0) } }
        var outbox = Outbox()
        outbox.openForTest(direct: pair[0])
        outbox.watch(true)
        let text = String(repeating: "x", count: 4 << 20)
        #expect(send(text, &outbox, limit: .max, directly: true) == (.sent, true))
        let rest = outbox.count
        #expect(rest > 0 && rest < text.utf8.count)
        var wire = ByteBuffer()
        outbox.claim(&wire)
        #expect(wire.count == rest)
        #expect(outbox.count == rest)
        // Once, and nobody writes past it.
        #expect(send("hi", &outbox, limit: .max, directly: true) == (.sent, false))
        outbox.claim(&wire)
        #expect(wire.count == rest)
    }

    // MARK: - Large messages

    /// Sends a message the way of large ones.
    private func sendLarge(_ size: Int, _ outbox: inout Outbox, wakes: inout Bool) -> Bool {
        var random = RandomPool()
        var frame = LargeFrame()
        guard outbox.begin(size, limit: .max, random: &random, &frame) == nil else { return false }
        let bytes = [UInt8](repeating: 0x61, count: size)
        let isMade = bytes.withUnsafeBytes { FrameWriter.append(.binary, $0, mask: frame.mask, to: &frame.buffer) }
        return isMade && outbox.append(&frame, directly: false, wakes: &wakes)
    }

    @Test func largeMessagesKeepTheirPlaceAmongSmallOnes() {
        var outbox = Outbox()
        outbox.openForTest()
        var wakes = false
        _ = send("1", &outbox)
        #expect(sendLarge(300_000, &outbox, wakes: &wakes))
        _ = send("2", &outbox)
        #expect(sendLarge(400_000, &outbox, wakes: &wakes))
        _ = send("3", &outbox)
        #expect(!wakes, "the engine was told for the first")
        #expect(outbox.count == 3 * 7 + 300_014 + 400_014)
        var lengths: [Int] = []
        var taken = ByteBuffer()
        repeat {
            taken.removeAll()
            outbox.take(&taken)
            lengths.append(taken.count)
        } while !taken.isEmpty
        #expect(lengths == [7, 300_014 + 7, 400_014 + 7, 0])
        #expect(outbox.count == 0)
        #expect(send("4", &outbox).wakes)
    }

    @Test func aLargeMessageOfAConnectionThatEndedMeanwhileIsNotTaken() {
        var outbox = Outbox()
        outbox.openForTest()
        var random = RandomPool()
        var frame = LargeFrame()
        #expect(outbox.begin(300_000, limit: .max, random: &random, &frame) == nil)
        _ = outbox.close()
        var wakes = false
        #expect(!outbox.append(&frame, directly: false, wakes: &wakes))
        outbox.openForTest(deflating: true)
        #expect(!outbox.append(&frame, directly: false, wakes: &wakes), "it is masked, and this one compresses")
        #expect(!wakes)
    }

    @Test func largeMessagesCountForTheLimit() {
        var outbox = Outbox()
        outbox.openForTest()
        var wakes = false
        #expect(sendLarge(300_000, &outbox, wakes: &wakes))
        #expect(sendLarge(300_000, &outbox, wakes: &wakes))
        var random = RandomPool()
        var frame = LargeFrame()
        guard case .failed = outbox.begin(300_000, limit: 800_000, random: &random, &frame) else {
            Issue.record("a message beyond maxbuffered was begun")
            return
        }
        #expect(outbox.close() == 2 * 300_014)
        #expect(outbox.count == 0)
    }

    // MARK: - Opening and closing

    @Test func aConnectionDoesNotOpenWhileACloseIsOnItsWay() {
        var outbox = Outbox()
        func opens() -> Bool { outbox.open(direct: nil, deflating: false, keepsTimes: false) }
        func wasOpen() -> Bool { outbox.closeByScript() }
        #expect(!wasOpen())
        #expect(!wasOpen())
        #expect(!opens())
        outbox.closeArrived()
        #expect(!opens())
        outbox.closeArrived()
        #expect(opens())
        #expect(wasOpen())
        let isOpen = outbox.isOpen
        #expect(!isOpen)
    }

    @Test func theEngineIsToldOfTheFirstWriteThatItDoesNotWatch() {
        var pair: [Int32] = [0, 0]
        socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair)
        defer { pair.forEach { close($0) } }
        var outbox = Outbox()
        outbox.openForTest(direct: pair[0])
        #expect(send("a", &outbox, directly: true) == (.sent, true))
        #expect(send("b", &outbox, directly: true) == (.sent, false))
        outbox.watch(false)
        #expect(send("c", &outbox, directly: true) == (.sent, true))
    }
}

extension Outbox {
    fileprivate mutating func openForTest(direct: Int32? = nil, deflating: Bool = false) {
        let isOpened = open(direct: direct, deflating: deflating, keepsTimes: false)
        #expect(isOpened)
    }
}
