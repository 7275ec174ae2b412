// Large messages: detached blocks, and payloads that are read straight into their message.

import CEvents
import TestSupport
import Testing

@testable import WebSocketProtocol

extension MessageReaderTests {
    @Test(arguments: [(16 << 10, true), (16 << 10 - 1, false)])
    func aLargeMessageBecomesADetachedBlock(count: Int, isDetached: Bool) {
        let payload = noise(count)
        let input = serverFrame(0x82, payload)
        let half = 5000
        var reader = client.reader()
        var events = EventRecords()
        _ = reader.receive(input[..<half], into: &events)
        _ = reader.receive(input[half...], into: &events)
        let records = events.records()
        #expect(records.map(\.event) == [.binary(payload)])
        #expect(records.first?.isDetached == isDetached)
    }

    @Test func theBlockOfADeliveredMessageIsUsedAgain() throws {
        let input = serverFrame(0x02, noise(20_000)) + serverFrame(0x80, noise(20_000))
        var reader = client.reader()
        var events = EventRecords()
        _ = reader.receive(input, into: &events)
        let first = try #require(events.records().last)
        let block = try #require(events.elements.compactMap { $0.removeBlock() }.last)
        events.removeAll()
        #expect(events.pool.put(block) == true)

        _ = reader.receive(input, into: &events)
        let second = try #require(events.records().last)
        #expect(second.block == first.block)
        #expect(second.event == first.event)
    }

    @Test func memoryGrowsWithTheBytesThatArrive() throws {
        var reader = FeedVerifier(maximumMessageSize: .max).reader()
        var events = EventRecords()
        _ = reader.receive([0x82, 0x7F, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], into: &events)
        let offered = reader.payloadDestination(&events)?.count
        let count = try #require(offered)
        #expect((32 << 10...1 << 20).contains(count))
    }

    @Test(.enabled(if: canExhaustMemory)) func outOfMemoryFailsTheConnection() async {
        await #expect(processExitsWith: .success) {
            let header: [UInt8] = [0x82, 0x7F, 0, 0, 0, 0, 0, 0x20, 0, 0]
            var reader = FeedVerifier(maximumMessageSize: .max).reader()
            var events = EventRecords()
            let atOnce = withoutMemory { reader.receive(header, into: &events) }
            #expect(
                atOnce
                    == .failed(ProtocolFailure(.internalError, "out of memory for a message of 0 bytes or more")))

            reader = FeedVerifier(maximumMessageSize: .max).reader()
            let begun = reader.receive(header + [UInt8](repeating: 0, count: 1 << 20), into: &events)
            #expect(begun == .open)
            let offered = withoutMemory { reader.payloadDestination(&events) != nil }
            #expect(!offered)
            let later = reader.receive([0], into: &events)
            #expect(
                later
                    == .failed(
                        ProtocolFailure(.internalError, "out of memory for a message of 1048576 bytes or more")))
        }
    }

    /// Bytes after the frame must not be read into the message.
    @Test func thePayloadDestinationEndsWithTheFrame() {
        var reader = client.reader()
        var events = EventRecords()
        _ = reader.receive(serverFrame(0x02, noise(40_000)) + [0x80, 0x7E, 0x84, 0xD0], into: &events)
        let offered = reader.payloadDestination(&events)?.count
        #expect(offered == 34_000)
        let input = serverFrame(0x02, noise(40_000)) + serverFrame(0x80, noise(34_000)) + serverFrame(0x81, "a")
        #expect(client.verify(input).events.suffix(2) == [.binary(noise(40_000) + noise(34_000)), .text("a")])
    }

    @Test func thereIsADestinationForLargePayloadsOnly() {
        var reader = FeedVerifier(maximumMessageSize: .max, inflating: .init()).reader()
        var events = EventRecords()
        func offers(_ input: [UInt8]) -> Bool {
            _ = reader.receive(input, into: &events)
            return reader.payloadDestination(&events) != nil
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

    @Test func thereIsNoDestinationAfterAClose() {
        var reader = client.reader()
        var events = EventRecords()
        let outcome = reader.receive(closeFrame(1000) + [0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0], into: &events)
        let offered = reader.payloadDestination(&events) != nil
        let received = reader.didReadPayload(1, into: &events)
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
