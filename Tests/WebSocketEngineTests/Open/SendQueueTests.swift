import CLinux
import Glibc
import Testing
import WebSocketProtocol

@testable import WebSocketEngine

@Suite struct SendQueueTests {
    /// Appends a text message; returns what came of it and whether the engine must be told.
    private func send(
        _ text: String, _ sendQueue: inout SendQueue, limit: Int = 1 << 20, directly: Bool = false
    ) -> (SendResult, wakes: Bool) {
        var random = RandomPool()
        var wakes = false
        let bytes = Array(text.utf8)
        let result = bytes.withUnsafeBytes { buffer in
            withUnsafePointer(to: buffer) {
                sendQueue.append(
                    .text, UnsafeBufferPointer(start: $0, count: 1), count: bytes.count, limit: limit, random: &random,
                    directly: directly, wakes: &wakes)
            }
        }
        return (result, wakes)
    }

    @Test func refusesUntilOpenAndAfterStop() {
        var sendQueue = SendQueue()
        #expect(send("x", &sendQueue).0 == .notOpen)
        sendQueue.openForTest()
        #expect(send("x", &sendQueue).0 == .sent)
        sendQueue.stop()
        #expect(send("x", &sendQueue).0 == .notOpen)
    }

    @Test func tellsTheEngineOnceForABurst() {
        var sendQueue = SendQueue()
        sendQueue.openForTest()
        #expect(send("a", &sendQueue).wakes)
        #expect(!send("b", &sendQueue).wakes)
        var taken = ByteBuffer()
        sendQueue.take(&taken)
        // Two frames of 2 bytes header, 4 of mask, 1 of payload.
        #expect(taken.count == 14)
        #expect(sendQueue.count == 14)
        #expect(!send("c", &sendQueue).wakes)
        taken.removeAll()
        sendQueue.take(&taken)
        taken.removeAll()
        sendQueue.take(&taken)
        #expect(sendQueue.count == 0)
        #expect(send("d", &sendQueue).wakes)
    }

    @Test func whileTheEngineLingersItIsToldWhenThereIsEnough() {
        var sendQueue = SendQueue()
        sendQueue.openForTest()
        #expect(send("a", &sendQueue).wakes)
        var taken = ByteBuffer()
        sendQueue.take(&taken)
        #expect(sendQueue.count == 7)
        // 2 bytes of header, 4 of mask, 1 of payload: 21 bytes are three messages.
        let waits = sendQueue.coalesce(until: 21)
        #expect(waits)
        #expect(sendQueue.count == 0, "what was taken is written")
        #expect(!send("b", &sendQueue).wakes)
        #expect(!send("c", &sendQueue).wakes)
        #expect(send("d", &sendQueue).wakes)
        #expect(!send("e", &sendQueue).wakes, "once")
        let waitsAgain = sendQueue.coalesce(until: 21)
        #expect(!waitsAgain)
        taken.removeAll()
        sendQueue.take(&taken)
        #expect(taken.count == 28)
    }

    @Test func beyondTheLimitNothingIsTaken() {
        var sendQueue = SendQueue()
        sendQueue.openForTest()
        #expect(send("12345", &sendQueue, limit: 20).0 == .sent)
        let before = sendQueue.count
        guard case .failed(let reason) = send("1234567890", &sendQueue, limit: 20).0 else {
            Issue.record("a message beyond maxbuffered was taken")
            return
        }
        #expect(reason.contains("maxbuffered"))
        #expect(sendQueue.count == before)
    }

    @Test func adviceToWaitOnlyWhereItHelps() {
        var sendQueue = SendQueue()
        sendQueue.openForTest()
        #expect(send("12345", &sendQueue, limit: 20).0 == .sent)
        #expect(
            send(String(repeating: "x", count: 20), &sendQueue, limit: 20).0
                == .failed(
                    "20 bytes beside the 11 that wait are more than maxbuffered (20); send less, or wait until "
                        + "bufferedamount has fallen"))
        #expect(
            send(String(repeating: "x", count: 21), &sendQueue, limit: 20).0
                == .failed("21 bytes are more than maxbuffered (20)"))
    }

    @Test func compressedConnectionsQueueFramesWithoutMasks() {
        var sendQueue = SendQueue()
        sendQueue.openForTest(deflating: true)
        _ = send("abc", &sendQueue)
        var taken = ByteBuffer()
        sendQueue.take(&taken)
        #expect(Array(taken.bytes) == [0x81, 0x03, 0x61, 0x62, 0x63])
    }

    @Test func firstMessageGoesStraightToTheSocket() throws {
        let (script, peer) = try makeSocketPair()
        defer { for number in [script, peer] { close(number) } }
        var sendQueue = SendQueue()
        sendQueue.openForTest(direct: script)
        sendQueue.watchAcknowledgements(true)
        #expect(send("hi", &sendQueue, directly: true) == (.sent, false))
        #expect(sendQueue.count == 0)
        var received = [UInt8](repeating: 0, count: 16)
        #expect(recv(peer, &received, 16, Int32(MSG_DONTWAIT)) == 8)
        #expect(received[..<2] == [0x81, 0x82])
        // While the engine has some of its own to write, nothing may overtake it.
        var writeBuffer = ByteBuffer()
        sendQueue.takeOwnership(&writeBuffer)
        #expect(writeBuffer.count == 0)
        #expect(send("hi", &sendQueue, directly: true) == (.sent, false))
        #expect(recv(peer, &received, 16, Int32(MSG_DONTWAIT)) == -1)
        sendQueue.takeOwnership(&writeBuffer)
        #expect(writeBuffer.count == 0, "a frame that was not begun may wait")
        #expect(sendQueue.close() == 8)
    }

    @Test func theRestOfAMessageThatIsHalfWrittenGoesFirst() throws {
        let (script, peer) = try makeSocketPair()
        defer { for number in [script, peer] { close(number) } }
        var sendQueue = SendQueue()
        sendQueue.openForTest(direct: script)
        sendQueue.watchAcknowledgements(true)
        let text = String(repeating: "x", count: 4 << 20)
        #expect(send(text, &sendQueue, limit: .max, directly: true) == (.sent, true))
        let rest = sendQueue.count
        #expect(rest > 0 && rest < text.utf8.count)
        var writeBuffer = ByteBuffer()
        sendQueue.takeOwnership(&writeBuffer)
        #expect(writeBuffer.count == rest)
        #expect(sendQueue.count == rest)
        // Once, and nobody writes past it.
        #expect(send("hi", &sendQueue, limit: .max, directly: true) == (.sent, false))
        sendQueue.takeOwnership(&writeBuffer)
        #expect(writeBuffer.count == rest)
    }

    /// The host has closed the socket, and a file of its own has the number. The loop meets the same error.
    @Test(arguments: [false, true]) func aFileWithTheSocketsNumberIsNotWritten(_ isSocket: Bool) throws {
        let (script, peer) = try makeSocketPair()
        let (reader, writer) = try isSocket ? makeSocketPair() : makePipe()
        defer { for number in [script, peer, reader, writer] { close(number) } }
        var sendQueue = SendQueue()
        sendQueue.openForTest(direct: script)
        #expect(send("a", &sendQueue, directly: true) == (.sent, true))
        #expect(sendQueue.count == 0)
        sendQueue.watchAcknowledgements(true)
        try #require(dup2(writer, script) == script)
        #expect(send("a", &sendQueue, directly: true) == (.sent, true))
        #expect(sendQueue.count == 7)
        var byte: UInt8 = 0
        #expect(read(reader, &byte, 1) == -1 && errno == EAGAIN)
    }

    // MARK: - Large messages

    /// Sends a message the way of large ones.
    private func sendLarge(_ size: Int, _ sendQueue: inout SendQueue, wakes: inout Bool) -> Bool {
        var random = RandomPool()
        var frame = LargeFrame()
        guard sendQueue.begin(size, limit: .max, random: &random, &frame) == nil else { return false }
        let bytes = [UInt8](repeating: 0x61, count: size)
        let isMade = bytes.withUnsafeBytes { FrameEncoder.append(.binary, $0, mask: frame.mask, to: &frame.buffer) }
        return isMade && sendQueue.append(&frame, directly: false, wakes: &wakes)
    }

    @Test func largeMessagesKeepTheirPlaceAmongSmallOnes() {
        var sendQueue = SendQueue()
        sendQueue.openForTest()
        var wakes = false
        _ = send("1", &sendQueue)
        #expect(sendLarge(300_000, &sendQueue, wakes: &wakes))
        _ = send("2", &sendQueue)
        #expect(sendLarge(400_000, &sendQueue, wakes: &wakes))
        _ = send("3", &sendQueue)
        #expect(!wakes, "the engine was told for the first")
        #expect(sendQueue.count == 3 * 7 + 300_014 + 400_014)
        var lengths: [Int] = []
        var taken = ByteBuffer()
        repeat {
            taken.removeAll()
            sendQueue.take(&taken)
            lengths.append(taken.count)
        } while !taken.isEmpty
        #expect(lengths == [7, 300_014 + 7, 400_014 + 7, 0])
        #expect(sendQueue.count == 0)
        #expect(send("4", &sendQueue).wakes)
    }

    @Test func aLargeMessageOfAConnectionThatEndedMeanwhileIsNotTaken() {
        var sendQueue = SendQueue()
        sendQueue.openForTest()
        var random = RandomPool()
        var frame = LargeFrame()
        #expect(sendQueue.begin(300_000, limit: .max, random: &random, &frame) == nil)
        _ = sendQueue.close()
        var wakes = false
        #expect(!sendQueue.append(&frame, directly: false, wakes: &wakes))
        sendQueue.openForTest(deflating: true)
        #expect(!sendQueue.append(&frame, directly: false, wakes: &wakes), "it is masked, and this one compresses")
        #expect(!wakes)
    }

    @Test func largeMessagesCountForTheLimit() {
        var sendQueue = SendQueue()
        sendQueue.openForTest()
        var wakes = false
        #expect(sendLarge(300_000, &sendQueue, wakes: &wakes))
        #expect(sendLarge(300_000, &sendQueue, wakes: &wakes))
        var random = RandomPool()
        var frame = LargeFrame()
        guard case .failed = sendQueue.begin(300_000, limit: 800_000, random: &random, &frame) else {
            Issue.record("a message beyond maxbuffered was begun")
            return
        }
        #expect(sendQueue.close() == 2 * 300_014)
        #expect(sendQueue.count == 0)
    }

    // MARK: - Opening and closing

    @Test func aQuestionIsNotCurrentAnyMoreAfterACallOfTheScript() {
        var sendQueue = SendQueue()
        func isCurrent(_ question: UInt32 = 7) -> Bool { sendQueue.isCurrent(question) }
        #expect(!isCurrent())
        sendQueue.question = 7
        #expect(isCurrent())
        #expect(!isCurrent(6))
        // close, then connect, both on their way to the loop.
        sendQueue.scriptCloses()
        sendQueue.scriptConnects()
        #expect(!isCurrent())
        sendQueue.callHandled()
        #expect(!isCurrent())
        sendQueue.question = nil
        sendQueue.callHandled()
        #expect(!isCurrent())
        sendQueue.question = 7
        _ = sendQueue.engineEnded()
        #expect(!isCurrent())
    }

    @Test func aConnectionDoesNotOpenWhileACloseIsOnItsWay() {
        var sendQueue = SendQueue()
        func opens() -> Bool { sendQueue.open(direct: nil, compresses: false) }
        sendQueue.scriptCloses()
        sendQueue.scriptCloses()
        #expect(!opens())
        sendQueue.callHandled()
        #expect(!opens())
        sendQueue.callHandled()
        #expect(opens())
        #expect(state(of: sendQueue) == .open)
        sendQueue.scriptCloses()
        #expect(state(of: sendQueue) == .closing)
    }

    /// The script calls close, then connect; the loop, which does not know yet, tells of the connection before.
    @Test(arguments: [WebSocket.State.closed, .connecting, .open, .waiting])
    func theScriptsWordOnTheStateStandsUntilTheLoopHasHandledItsCalls(before: WebSocket.State) {
        var sendQueue = SendQueue()
        if before == .open { sendQueue.openForTest() } else { sendQueue.setState(before) }
        sendQueue.scriptCloses()
        let closed = before == .open ? WebSocket.State.closing : .closed
        #expect(state(of: sendQueue) == closed)
        sendQueue.setState(.waiting)
        #expect(state(of: sendQueue) == closed)
        sendQueue.scriptConnects()
        let connecting = before == .open ? WebSocket.State.closing : .connecting
        #expect(state(of: sendQueue) == connecting)
        sendQueue.callHandled()
        sendQueue.setState(.closed)
        #expect(state(of: sendQueue) == connecting)
        sendQueue.callHandled()
        sendQueue.setState(.connecting)
        #expect(state(of: sendQueue) == .connecting)
    }

    @Test func aConnectionThatIsGoneTakesNoMessage() {
        var sendQueue = SendQueue()
        sendQueue.openForTest()
        _ = sendQueue.close()
        #expect(state(of: sendQueue) == .closing, "until the loop has said what follows")
        #expect(send("a", &sendQueue) == (.notOpen, false))
        let wasOpen = sendQueue.engineEnded()
        #expect(wasOpen && state(of: sendQueue) == .closed)
    }

    private func state(of sendQueue: borrowing SendQueue) -> WebSocket.State { sendQueue.state }

    @Test func theEngineIsToldOfTheFirstWriteThatItDoesNotWatch() throws {
        let (script, peer) = try makeSocketPair()
        defer { for number in [script, peer] { close(number) } }
        var sendQueue = SendQueue()
        sendQueue.openForTest(direct: script)
        #expect(send("a", &sendQueue, directly: true) == (.sent, true))
        #expect(send("b", &sendQueue, directly: true) == (.sent, false))
        sendQueue.watchAcknowledgements(false)
        #expect(send("c", &sendQueue, directly: true) == (.sent, true))
    }
}

extension SendQueue {
    fileprivate mutating func openForTest(direct: Int32? = nil, deflating: Bool = false) {
        let isOpened = open(
            direct: direct.map { SocketWriter(DescriptorReference($0), isTCP: false) }, compresses: deflating)
        #expect(isOpened)
    }
}
