// Control frames (RFC 6455 section 5.5).

import Testing

@testable import WebSocketProtocol

extension MessageReaderTests {
    @Test(arguments: [0x08, 0x09, 0x0A] as [UInt8])
    func fragmentedControlFrame(first: UInt8) {
        let reason = "a control frame is fragmented (RFC 6455 5.5)"
        expectFailure(serverFrame(first, ""), .protocolError, reason, of: client)
        expectFailure(clientFrame(first, "Hello"), .protocolError, reason, of: server)
        expectFailure(
            serverFrame(0x01, "a") + serverFrame(first, "b"), .protocolError, reason,
            after: [.fragment(received: 1)], of: client)
    }

    @Test(arguments: [0x88, 0x89, 0x8A] as [UInt8], [126, 127, 65535, 65536])
    func longControlFrame(first: UInt8, count: Int) {
        let reason = "a control frame is longer than 125 bytes (RFC 6455 5.5)"
        expectFailure(
            serverFrame(first, noise(count).prefix(10) + noise(count - 10)), .protocolError, reason, of: client)
        // The header alone is enough.
        let header = clientFrame(first, noise(count)).dropLast(count)
        expectFailure(Array(header), .protocolError, reason, of: server)
    }

    @Test func controlFramesOf125Bytes() {
        let payload = noise(125)
        #expect(client.verify(serverFrame(0x89, payload)) == Reception(events: [.ping(payload)], pongs: [payload]))
        #expect(client.verify(serverFrame(0x8A, payload)) == Reception(events: [.pong(payload)]))
        let reason = String(repeating: "r", count: 123)
        #expect(client.verify(closeFrame(1000, reason)).closeFrame == CloseFrame(code: .normal, reason: reason))
    }

    @Test func controlFramesBetweenFragments() {
        let input =
            serverFrame(0x01, "Hel") + serverFrame(0x89, "p") + serverFrame(0x00, "l") + serverFrame(0x8A, "q")
            + serverFrame(0x89, "") + serverFrame(0x80, "o")
        #expect(
            client.verify(input)
                == Reception(
                    events: [
                        .fragment(received: 3), .ping([0x70]), .fragment(received: 4), .pong([0x71]), .ping([]),
                        .text("Hello"),
                    ], pongs: [[0x70], []]))
    }

    @Test func closeInsideAFragmentedMessage() {
        let reception = client.verify(serverFrame(0x01, "Hel") + closeFrame(1001))
        #expect(reception.events == [.fragment(received: 3)])
        #expect(reception.closeFrame == CloseFrame(code: .goingAway))
    }

    // MARK: - 5.5.1, Close

    @Test func closeWithoutABody() {
        #expect(client.verify([0x88, 0x00]) == Reception(outcome: .closed(CloseFrame(code: .noStatus))))
        #expect(server.verify([0x88, 0x80, 1, 2, 3, 4]) == Reception(outcome: .closed(CloseFrame(code: .noStatus))))
    }

    @Test func closeWithCodeAndReason() {
        #expect(
            client.verify([0x88, 0x05, 0x03, 0xE8, 0x62, 0x79, 0x65])
                == Reception(outcome: .closed(CloseFrame(code: .normal, reason: "bye"))))
    }

    @Test(arguments: CloseCodeTests.accepted) func closeWithAGoodCode(code: UInt16) {
        let expected = CloseFrame(code: CloseCode(rawValue: code), reason: "ø")
        #expect(client.verify(closeFrame(code, "ø")) == Reception(outcome: .closed(expected)))
    }

    @Test(arguments: CloseCodeTests.refused) func closeWithABadCode(code: UInt16) {
        let reason = "the Close frame has the code \(code), which must not be sent (RFC 6455 7.4)"
        expectFailure(closeFrame(code), .protocolError, reason, of: client)
        expectFailure(closeFrame(code, "why"), .protocolError, reason, of: client)
        expectFailure(clientFrame(0x88, bigEndian(UInt64(code), bytes: 2)), .protocolError, reason, of: server)
    }

    @Test func closeWithHalfACode() {
        let reason = "the Close frame has a body of one byte (RFC 6455 5.5.1)"
        expectFailure([0x88, 0x01, 0x03], .protocolError, reason, of: client)
    }

    @Test func closeWithAReasonThatIsNotUTF8() {
        let reason = "the reason of the Close frame is not UTF-8 (RFC 6455 5.5.1)"
        expectFailure([0x88, 0x04, 0x03, 0xE8, 0xC3, 0x28], .invalidData, reason, of: client)
        expectFailure([0x88, 0x03, 0x03, 0xE8, 0xC3], .invalidData, reason, of: client)
    }

    /// 1.4: after a Close, further data is discarded.
    @Test func bytesAfterACloseAreIgnored() {
        let late = serverFrame(0x81, "late") + serverFrame(0x89, "p") + closeFrame(1001) + [0xFF, 0xFF, 0xFF]
        let expected = Reception(events: [.text("a")], outcome: .closed(CloseFrame(code: .normal)))
        #expect(client.verify(serverFrame(0x81, "a") + closeFrame(1000) + late) == expected)
    }

    @Test func bytesAfterAFailureAreIgnored() {
        let late = serverFrame(0x81, "late") + serverFrame(0x89, "p") + closeFrame(1000)
        expectFailure(
            [0xFF, 0x00] + late, .protocolError, "a frame has reserved bits set (RFC 6455 5.2)", of: client)
    }

    // MARK: - 5.5.2 and 5.5.3, Ping and Pong

    @Test func everyPingIsAnsweredInOrder() {
        let input = (0..<20).flatMap { serverFrame(0x89, [UInt8](repeating: $0, count: Int($0))) }
        #expect(client.verify(input).pongs == (0..<20).map { [UInt8](repeating: $0, count: Int($0)) })
    }

    @Test func anEmptyPingIsAnsweredEmpty() {
        #expect(client.verify([0x89, 0x00]) == Reception(events: [.ping([])], pongs: [[]]))
    }

    @Test func pongsAreNotAnswered() {
        #expect(client.verify(serverFrame(0x8A, "a") + serverFrame(0x8A, "")).pongs == [])
    }

    /// A peer that pings and never reads must not use up the memory: only the latest pings are answered.
    @Test func anUnansweredBacklogKeepsTheLatest() throws {
        let pings = (0..<1000).map { noise(125, seed: UInt64($0)) }
        let reception = client.verify(pings.flatMap { serverFrame(0x89, $0) })
        #expect(reception.events.count == 1000)
        #expect(reception.pongs.count <= (4 << 10) / 126 + 2)
        #expect(reception.pongs == Array(pings.suffix(reception.pongs.count)))
    }

    @Test func answeredPingsLeaveRoomForMore() {
        var reader = client.reader()
        var events = EventRecords()
        for i in 0..<1000 as Range<UInt64> {
            let outcome = reader.receive(serverFrame(0x89, bigEndian(i, bytes: 8)), into: &events)
            #expect(outcome == .open)
            let pongs = reader.dequeuePongs()
            #expect(pongs == [bigEndian(i, bytes: 8)])
        }
    }

    @Test func aPingBeforeACloseIsStillAnswered() {
        let reception = client.verify(serverFrame(0x89, "p") + closeFrame(1000))
        #expect(reception.pongs == [[0x70]])
        #expect(reception.closeFrame == CloseFrame(code: .normal))
    }
}
