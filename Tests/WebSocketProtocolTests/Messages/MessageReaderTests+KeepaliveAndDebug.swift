// Pongs for the engine's keepalive pings, and the DEBUG records that describe frames.

import CEvents
import Testing

@testable import WebSocketProtocol

extension MessageReaderTests {
    private func receive(
        _ input: [UInt8], key: UInt32? = nil, debug: Bool = false
    ) -> (events: [Event], pong: UInt64?) {
        var reader = MessageReader(
            role: .client, maximumMessageSize: 100, inflating: nil, keepaliveKey: key, debug: debug)
        var records = EventRecords()
        var input = input
        _ = input.withUnsafeMutableBytes { reader.receive($0, into: &records) }
        return (records.records().map(\.event), reader.keepalivePong)
    }

    /// The first has waited least in the socket, so it measures the latency best.
    @Test func theFirstPongOfAReadIsReported() {
        let pongs = (1...3 as ClosedRange<UInt8>).flatMap { serverFrame(0x8A, [0x78, 0x56, 0x34, 0x12, $0, 0, 0, 0]) }
        let result = receive(pongs, key: 0x1234_5678)
        #expect(result.events == [])
        #expect(result.pong == 0x1_1234_5678)
    }

    @Test func pongsOfTheKeepaliveAreNoEvents() {
        let result = receive(serverFrame(0x8A, [0x78, 0x56, 0x34, 0x12, 1, 0, 0, 0]), key: 0x1234_5678)
        #expect(result.events == [])
        #expect(result.pong == 0x1_1234_5678)
    }

    @Test(arguments: [[0x78, 0x56, 0x34, 0x12, 1, 0, 0], [0x79, 0x56, 0x34, 0x12, 1, 0, 0, 0], []] as [[UInt8]])
    func otherPongsAreEvents(payload: [UInt8]) {
        let result = receive(serverFrame(0x8A, payload), key: 0x1234_5678)
        #expect(result.events == [.pong(payload)])
        #expect(result.pong == nil)
    }

    @Test func withoutAKeepaliveEachPongIsAnEvent() {
        let payload: [UInt8] = [0x78, 0x56, 0x34, 0x12, 1, 0, 0, 0]
        #expect(receive(serverFrame(0x8A, payload)).events == [.pong(payload)])
    }

    @Test func debugDescribesEachFrameBeforeItsEvent() {
        func line(_ text: String) -> Event { .other(type: WS_EVENT_DEBUG, Array(text.utf8)) }
        let input = serverFrame(0x01, "Hel") + serverFrame(0x89, "") + serverFrame(0x80, "lo")
        #expect(
            receive(input, debug: true).events == [
                line("received TEXT, 3 bytes, not final"), .fragment(received: 3), line("received PING, 0 bytes"),
                .ping([]), line("received CONTINUATION, 2 bytes"), .text("Hello"),
            ])
    }
}
