// Text, the size limit, and large messages in detached blocks.

import CEvents
import TestSupport
import Testing

@testable import WebSocketProtocol

extension MessageReaderTests {
    private static let notUTF8 = "a text message is not UTF-8 (RFC 6455 8.1)"

    // MARK: - 8.1, UTF-8

    @Test func textOfEveryLengthOfCharacter() {
        let text = "aé€😀\u{7F}\u{80}\u{7FF}\u{800}\u{FFFF}\u{10000}\u{10FFFF}\u{0}"
        #expect(client.verify(serverFrame(0x81, text)).events == [.text(text)])
        #expect(server.verify(clientFrame(0x81, text)).events == [.text(text)])
    }

    @Test func charactersCutByFragments() {
        let bytes = Array("κόσμε😀".utf8)
        for cut in 0...bytes.count {
            let input = serverFrame(0x01, bytes[..<cut]) + serverFrame(0x89, "p") + serverFrame(0x80, bytes[cut...])
            #expect(client.verify(input).events == [.fragment(received: cut), .ping([0x70]), .text("κόσμε😀")])
        }
        let drip = serverFrame(0x01, "") + bytes.flatMap { serverFrame(0x00, [$0]) } + serverFrame(0x80, "")
        #expect(client.verify(drip).events.last == .text("κόσμε😀"))
    }

    @Test(
        arguments: [
            [0x80], [0xFF], [0xFE], [0xC0, 0xAF], [0xC1, 0xBF], [0xE0, 0x9F, 0xBF], [0xF0, 0x8F, 0xBF, 0xBF],
            [0xED, 0xA0, 0x80], [0xED, 0xBF, 0xBF], [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xC3, 0x28],
            [0xE2, 0x82, 0x28], [0xF0, 0x9F, 0x98, 0x28], [0xC3], [0xE2, 0x82], [0xF0, 0x9F, 0x98],
        ] as [[UInt8]])
    func textThatIsNotUTF8(bad: [UInt8]) {
        let hello = Array("Hello ".utf8)
        expectFailure(serverFrame(0x81, bad), .invalidData, Self.notUTF8, of: client)
        expectFailure(clientFrame(0x81, hello + bad), .invalidData, Self.notUTF8, of: server)
        expectFailure(
            serverFrame(0x81, "a") + serverFrame(0x81, hello + bad), .invalidData, Self.notUTF8,
            after: [.text("a")], of: client)
        expectFailure(
            serverFrame(0x01, hello) + serverFrame(0x80, bad), .invalidData, Self.notUTF8,
            after: [.fragment(received: 6)], of: client)
        // Neither a fragment nor large payloads read past the buffer hide it.
        expectFailure(
            serverFrame(0x81, [UInt8](repeating: 0x61, count: 40_000) + bad), .invalidData, Self.notUTF8, of: client)
        // Binary messages may hold anything.
        #expect(client.verify(serverFrame(0x82, bad)).events == [.binary(bad)])
    }

    @Test func aCharacterWithoutItsEndEndsNoMessage() {
        expectFailure(
            serverFrame(0x01, "a") + serverFrame(0x00, [0xE2, 0x82]) + serverFrame(0x80, ""), .invalidData,
            Self.notUTF8, after: [.fragment(received: 1), .fragment(received: 3)], of: client)
    }

    /// At the first byte that is wrong, not when the message is whole.
    @Test(arguments: [0, 1, 5, 31, 32, 33, 70])
    func failsAtTheFirstBadByte(position: Int) {
        let header: [UInt8] = [0x81, 0x7E, 0x01, 0x00]
        var connection = client.connection()
        var events = EventRecords()
        let good = connection.receive(header + [UInt8](repeating: 0x61, count: position), into: &events)
        #expect(good == .open)
        let start = connection.receive([0xE2], into: &events)
        #expect(start == .open)
        let bad = connection.receive([0x28], into: &events)
        #expect(bad == .failed(ProtocolFailure(.invalidData, Self.notUTF8)))
    }

    // MARK: - The limit

    private static func tooBig(_ limit: Int) -> String {
        "a message is larger than \(limit) bytes; raise the option maxmessagesize to receive it"
    }

    @Test(arguments: [0, 1, 10, 125, 126, 70_000])
    func oneFrameUpToTheLimit(limit: Int) {
        let verifier = FeedVerifier(maximumMessageSize: limit)
        #expect(verifier.verify(serverFrame(0x82, noise(limit))).events == [.binary(noise(limit))])
        expectFailure(serverFrame(0x82, noise(limit + 1)), .tooBig, Self.tooBig(limit), of: verifier)
        // What is claimed is enough.
        let header = Array(serverFrame(0x82, noise(limit + 1)).dropLast(limit + 1))
        expectFailure(header, .tooBig, Self.tooBig(limit), of: verifier)
    }

    @Test func anyClaimedLengthIsCompared() {
        let header: [UInt8] = [0x7F, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]
        expectFailure([0x82] + header, .tooBig, Self.tooBig(1 << 20), of: client)
        expectFailure(
            serverFrame(0x02, [1]) + [0x80] + header, .tooBig, Self.tooBig(1 << 20), after: [.fragment(received: 1)],
            of: client)
        let unlimited = FeedVerifier(maximumMessageSize: .max)
        #expect(unlimited.verify([0x82] + header + noise(100)) == Reception())
    }

    @Test func fragmentsUpToTheLimit() {
        let verifier = FeedVerifier(maximumMessageSize: 10)
        let start = serverFrame(0x02, noise(6)) + serverFrame(0x89, noise(100)) + serverFrame(0x00, [])
        let events: [Event] = [.fragment(received: 6), .ping(noise(100)), .fragment(received: 6)]
        #expect(
            verifier.verify(start + serverFrame(0x80, noise(4)) + serverFrame(0x82, noise(10)))
                == Reception(
                    events: events + [.binary(noise(6) + noise(4)), .binary(noise(10))], pongs: [noise(100)]))
        let failure = ProtocolFailure(.tooBig, Self.tooBig(10))
        for first in [0x80, 0x00] as [UInt8] {
            #expect(
                verifier.verify(start + serverFrame(first, noise(5)))
                    == Reception(events: events, outcome: .failed(failure), pongs: [noise(100)]))
        }
    }

    // MARK: - Large messages

    @Test(arguments: [(16 << 10, true), (16 << 10 - 1, false)])
    func aLargeMessageBecomesADetachedBlock(count: Int, isDetached: Bool) {
        let payload = noise(count)
        let input = serverFrame(0x82, payload)
        let half = 5000
        var connection = client.connection()
        var events = EventRecords()
        _ = connection.receive(input[..<half], into: &events)
        _ = connection.receive(input[half...], into: &events)
        let records = events.records()
        #expect(records.map(\.event) == [.binary(payload)])
        #expect(records.first?.isDetached == isDetached)
    }

    @Test func theMemoryOfADeliveredMessageIsUsedAgain() throws {
        let input = serverFrame(0x02, noise(20_000)) + serverFrame(0x80, noise(20_000))
        var connection = client.connection()
        var events = EventRecords()
        _ = connection.receive(input, into: &events)
        let first = try #require(events.records().last)
        let block = try #require(events.elements.compactMap { $0.removeBlock() }.last)
        events.removeAll()
        #expect(events.pool.put(block) == true)

        _ = connection.receive(input, into: &events)
        let second = try #require(events.records().last)
        #expect(second.block == first.block)
        #expect(second.event == first.event)
    }

    @Test func memoryFollowsWhatHasArrived() throws {
        var connection = FeedVerifier(maximumMessageSize: .max).connection()
        var events = EventRecords()
        _ = connection.receive([0x82, 0x7F, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], into: &events)
        let offered = connection.payloadDestination(&events)?.count
        let space = try #require(offered)
        #expect((32 << 10...1 << 20).contains(space))
    }

    @Test func outOfMemoryFailsTheConnection() async {
        await #expect(processExitsWith: .success) {
            let header: [UInt8] = [0x82, 0x7F, 0, 0, 0, 0, 0, 0x20, 0, 0]
            var connection = FeedVerifier(maximumMessageSize: .max).connection()
            var events = EventRecords()
            let atOnce = withoutMemory { connection.receive(header, into: &events) }
            #expect(
                atOnce
                    == .failed(ProtocolFailure(.internalError, "out of memory for a message of 0 bytes or more")))

            connection = FeedVerifier(maximumMessageSize: .max).connection()
            let begun = connection.receive(header + [UInt8](repeating: 0, count: 1 << 20), into: &events)
            #expect(begun == .open)
            let offered = withoutMemory { connection.payloadDestination(&events) != nil }
            #expect(!offered)
            let later = connection.receive([0], into: &events)
            #expect(
                later
                    == .failed(
                        ProtocolFailure(.internalError, "out of memory for a message of 1048576 bytes or more")))
        }
    }

    /// What follows the frame in the connection must not be read into the message.
    @Test func directSpaceEndsWithTheFrame() {
        var connection = client.connection()
        var events = EventRecords()
        _ = connection.receive(serverFrame(0x02, noise(40_000)) + [0x80, 0x7E, 0x84, 0xD0], into: &events)
        let offered = connection.payloadDestination(&events)?.count
        #expect(offered == 34_000)
        let input = serverFrame(0x02, noise(40_000)) + serverFrame(0x80, noise(34_000)) + serverFrame(0x81, "a")
        #expect(client.verify(input).events.suffix(2) == [.binary(noise(40_000) + noise(34_000)), .text("a")])
    }

    @Test func directSpaceIsOfferedForLargePayloadsOnly() {
        var connection = FeedVerifier(maximumMessageSize: .max, inflating: .init()).connection()
        var events = EventRecords()
        func offers(_ input: [UInt8]) -> Bool {
            _ = connection.receive(input, into: &events)
            return connection.payloadDestination(&events) != nil
        }
        let before = offers([])
        let small = offers([0x02, 0x7E, 0x7F, 0xFF])
        let large = offers(noise(32767) + [0x00, 0x7E, 0x80, 0x00])
        let nearlyDone = offers([0])
        let ping = offers(noise(32767) + [0x89, 0x05])
        let compressed = offers([0, 0, 0, 0, 0, 0x80, 0x00, 0xC2, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0])
        #expect(!before)
        #expect(!small)
        #expect(large)
        #expect(!nearlyDone)
        #expect(!ping)
        #expect(!compressed)
    }

    @Test func noDirectSpaceAfterAClose() {
        var connection = client.connection()
        var events = EventRecords()
        let outcome = connection.receive(closeFrame(1000) + [0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0], into: &events)
        let offered = connection.payloadDestination(&events) != nil
        let received = connection.didReadPayload(1, into: &events)
        #expect(!offered)
        #expect(received == outcome)
    }

    @Test func largeMessagesInEveryForm() {
        let text = String(repeating: "κόσμε", count: 10_000)
        let bytes = Array(text.utf8)
        #expect(client.verify(serverFrame(0x81, bytes)).events == [.text(text)])
        #expect(server.verify(clientFrame(0x81, bytes)).events == [.text(text)])
        let fragments = clientFrame(0x01, bytes.prefix(40_001)) + clientFrame(0x80, bytes.dropFirst(40_001))
        #expect(server.verify(fragments).events == [.fragment(received: 40_001), .text(text)])
        let behind = serverFrame(0x02, noise(40_000)) + serverFrame(0x80, noise(40_000)) + serverFrame(0x81, "a")
        #expect(
            client.verify(behind).events
                == [.fragment(received: 40_000), .binary(noise(40_000) + noise(40_000)), .text("a")])
    }
}
