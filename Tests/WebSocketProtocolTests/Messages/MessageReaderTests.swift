// Frames (RFC 6455 sections 5.1 to 5.4). The files with a + have control frames, messages, compression, large payloads,
// keepalive and debug, and a whole conversation.

import Testing

@testable import WebSocketProtocol

@Suite struct MessageReaderTests {
    let client = FeedVerifier()
    let server = FeedVerifier(role: .server)

    func expectFailure(
        _ input: [UInt8], _ code: CloseCode, _ reason: String, after events: [Event] = [], of verifier: FeedVerifier,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let expected = Reception(events: events, outcome: .failed(ProtocolFailure(code, reason)))
        #expect(verifier.verify(input, sourceLocation: sourceLocation) == expected, sourceLocation: sourceLocation)
    }

    // MARK: - 5.7, examples

    @Test func unmaskedText() {
        let reception = client.verify([0x81, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F])
        #expect(reception == Reception(events: [.text("Hello")]))
    }

    @Test func maskedText() {
        let reception = server.verify([0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58])
        #expect(reception == Reception(events: [.text("Hello")]))
    }

    @Test func fragmentedText() {
        let reception = client.verify([0x01, 0x03, 0x48, 0x65, 0x6C, 0x80, 0x02, 0x6C, 0x6F])
        #expect(reception == Reception(events: [.fragment(received: 3), .text("Hello")]))
    }

    @Test func pingAndItsPong() {
        let ping = client.verify([0x89, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F])
        #expect(ping == Reception(events: [.ping(Array("Hello".utf8))], pongs: [Array("Hello".utf8)]))
        let pong = server.verify([0x8A, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58])
        #expect(pong == Reception(events: [.pong(Array("Hello".utf8))]))
    }

    @Test func binaryOf256Bytes() {
        let payload = noise(256)
        #expect(client.verify([0x82, 0x7E, 0x01, 0x00] + payload).events == [.binary(payload)])
    }

    @Test func binaryOf64KiB() {
        let payload = noise(65536)
        let header: [UInt8] = [0x82, 0x7F, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00]
        #expect(client.verify(header + payload).events == [.binary(payload)])
    }

    // MARK: - 5.2, lengths

    @Test(arguments: [0, 1, 124, 125, 126, 127, 65535, 65536])
    func everyFormOfLength(count: Int) {
        let payload = noise(count)
        #expect(client.verify(serverFrame(0x82, payload)) == Reception(events: [.binary(payload)]))
        #expect(server.verify(clientFrame(0x82, payload)) == Reception(events: [.binary(payload)]))
    }

    @Test(
        arguments: [
            [0x82, 0x7E, 0x00, 0x00], [0x82, 0x7E, 0x00, 0x7D], [0x81, 0x7E, 0x00, 0x01],
            [0x82, 0x7F, 0, 0, 0, 0, 0, 0, 0, 0], [0x82, 0x7F, 0, 0, 0, 0, 0, 0, 0x00, 0x7D],
            [0x82, 0x7F, 0, 0, 0, 0, 0, 0, 0x00, 0x7E], [0x02, 0x7F, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF],
            [0x89, 0x7E, 0x00, 0x05], [0x88, 0x7F, 0, 0, 0, 0, 0, 0, 0x00, 0x02],
        ] as [[UInt8]])
    func lengthNotInItsShortestForm(header: [UInt8]) {
        let reason = "a frame's length is not in its shortest form (RFC 6455 5.2)"
        expectFailure(header + [1, 2, 3, 4, 5], .protocolError, reason, of: client)
        expectFailure(withMask(header) + [1, 2, 3, 4, 5], .protocolError, reason, of: server)
    }

    @Test(
        arguments: [
            [0x82, 0x7F, 0x80, 0, 0, 0, 0, 0, 0, 0], [0x81, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
            [0x82, 0x7F, 0x80, 0, 0, 0, 0, 0, 0x00, 0x05], [0x89, 0x7F, 0x80, 0, 0, 0, 0, 0, 0, 0],
        ] as [[UInt8]])
    func lengthWithItsTopBitSet(header: [UInt8]) {
        let reason = "a frame's length has its top bit set (RFC 6455 5.2)"
        expectFailure(header, .protocolError, reason, of: client)
        expectFailure(withMask(header), .protocolError, reason, of: server)
    }

    // MARK: - 5.2, reserved bits and opcodes

    /// RSV2, RSV3 and both, on every kind of frame.
    @Test(
        arguments: [0x10, 0x20, 0x30, 0x50, 0x60, 0x70] as [UInt8],
        [0x81, 0x82, 0x01, 0x02, 0x80, 0x00, 0x88, 0x89, 0x8A] as [UInt8])
    func reservedBits(bits: UInt8, first: UInt8) {
        let reason = "a frame has reserved bits set (RFC 6455 5.2)"
        for inflating in [nil, DeflateParameters.Direction()] {
            let client = FeedVerifier(inflating: inflating)
            let server = FeedVerifier(role: .server, inflating: inflating)
            expectFailure(serverFrame(first | bits, "Hello"), .protocolError, reason, of: client)
            expectFailure(clientFrame(first | bits, "Hello"), .protocolError, reason, of: server)
        }
    }

    @Test(arguments: [0x81, 0x82, 0x01, 0x02, 0x80, 0x00, 0x88, 0x89, 0x8A] as [UInt8])
    func rsv1WithoutCompression(first: UInt8) {
        let reason = "a frame has RSV1 set where it means nothing (RFC 6455 5.2, RFC 7692 6.1)"
        expectFailure(serverFrame(first | 0x40, "Hello"), .protocolError, reason, of: client)
        expectFailure(clientFrame(first | 0x40, "Hello"), .protocolError, reason, of: server)
    }

    @Test(arguments: [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF] as [UInt8])
    func reservedOpcode(opcode: UInt8) {
        let reason = "a frame has the reserved opcode \(opcode) (RFC 6455 5.2)"
        for fin in [0x80, 0x00] as [UInt8] {
            expectFailure(serverFrame(fin | opcode, ""), .protocolError, reason, of: client)
            expectFailure(clientFrame(fin | opcode, "Hello"), .protocolError, reason, of: server)
            expectFailure(
                serverFrame(0x81, "a") + serverFrame(fin | opcode, ""), .protocolError, reason,
                after: [.text("a")], of: client)
        }
    }

    // MARK: - 5.1, masks

    @Test(arguments: [0x81, 0x82, 0x01, 0x88, 0x89, 0x8A] as [UInt8])
    func aServerMustNotMask(first: UInt8) {
        let reason = "a frame of the server is masked (RFC 6455 5.1)"
        expectFailure(clientFrame(first, "Hello"), .protocolError, reason, of: client)
        expectFailure(clientFrame(first, ""), .protocolError, reason, of: client)
        expectFailure(clientFrame(first, noise(100), key: [0, 0, 0, 0]), .protocolError, reason, of: client)
        expectFailure(
            serverFrame(0x01, "a") + clientFrame(0x80, "b"), .protocolError, reason,
            after: [.fragment(received: 1)], of: client)
    }

    @Test(arguments: [0x81, 0x82, 0x01, 0x88, 0x89, 0x8A] as [UInt8])
    func aClientMustMask(first: UInt8) {
        let reason = "a frame of the client is not masked (RFC 6455 5.1)"
        expectFailure(serverFrame(first, "Hello"), .protocolError, reason, of: server)
        expectFailure(serverFrame(first, ""), .protocolError, reason, of: server)
        expectFailure(
            clientFrame(0x01, "a") + serverFrame(0x80, "b"), .protocolError, reason,
            after: [.fragment(received: 1)], of: server)
    }

    @Test func eachFrameHasItsOwnMask() {
        let input =
            clientFrame(0x01, noise(33), key: [1, 2, 3, 4]) + clientFrame(0x00, [], key: [9, 9, 9, 9])
            + clientFrame(0x89, [7], key: [0xFF, 0, 0, 0]) + clientFrame(0x80, [0x41], key: [0, 0, 0, 0])
        let text = noise(33).map { $0 & 0x7F }
        let ascii = FeedVerifier(role: .server).verify(
            clientFrame(0x01, text, key: [1, 2, 3, 4]) + input.dropFirst(6 + 33))
        #expect(
            ascii.events == [
                .fragment(received: 33), .fragment(received: 33), .ping([7]),
                .text(String(decoding: text + [0x41], as: UTF8.self)),
            ])
    }

    // MARK: - 5.4, fragments

    @Test(arguments: [0x80, 0x00] as [UInt8])
    func continuationWithoutAMessage(first: UInt8) {
        let reason = "a continuation frame without a message to continue (RFC 6455 5.4)"
        expectFailure(serverFrame(first, ""), .protocolError, reason, of: client)
        expectFailure(clientFrame(first, "Hello"), .protocolError, reason, of: server)
        expectFailure(
            serverFrame(0x81, "a") + serverFrame(first, "b"), .protocolError, reason, after: [.text("a")], of: client)
        expectFailure(
            serverFrame(0x02, "a") + serverFrame(0x80, "b") + serverFrame(first, "c"), .protocolError, reason,
            after: [.fragment(received: 1), .binary([0x61, 0x62])], of: client)
    }

    @Test(arguments: [0x81, 0x01, 0x82, 0x02] as [UInt8], [0x01, 0x02] as [UInt8])
    func newMessageInsideAFragmentedOne(first: UInt8, start: UInt8) {
        let reason = "a new message inside a fragmented one (RFC 6455 5.4)"
        expectFailure(
            serverFrame(start, "a") + serverFrame(first, "b"), .protocolError, reason,
            after: [.fragment(received: 1)], of: client)
        expectFailure(
            clientFrame(start, "") + clientFrame(0x00, "ab") + clientFrame(first, ""), .protocolError, reason,
            after: [.fragment(received: 0), .fragment(received: 2)], of: server)
    }

    @Test func fragmentRecordsHaveTheBytesSoFar() {
        let input =
            serverFrame(0x02, [1, 2, 3]) + serverFrame(0x00, []) + serverFrame(0x00, [4]) + serverFrame(0x80, [5, 6])
        #expect(
            client.verify(input).events == [
                .fragment(received: 3), .fragment(received: 3), .fragment(received: 4), .binary([1, 2, 3, 4, 5, 6]),
            ])
    }

    @Test func emptyFragments() {
        let input = serverFrame(0x01, "") + serverFrame(0x00, "") + serverFrame(0x80, "")
        #expect(client.verify(input).events == [.fragment(received: 0), .fragment(received: 0), .text("")])
        #expect(client.verify(serverFrame(0x01, "") + serverFrame(0x80, "a")).events.last == .text("a"))
        #expect(client.verify(serverFrame(0x01, "a") + serverFrame(0x80, "")).events.last == .text("a"))
    }

    @Test func oneMessageAfterAnother() {
        let input =
            serverFrame(0x81, "a") + serverFrame(0x82, "") + serverFrame(0x01, "b") + serverFrame(0x80, "c")
            + serverFrame(0x81, "")
        #expect(
            client.verify(input)
                == Reception(events: [.text("a"), .binary([]), .fragment(received: 1), .text("bc"), .text("")]))
    }

    // MARK: - Input

    @Test func noInputIsNoError() {
        var reader = client.reader()
        var events = EventRecords()
        let ofNull = reader.receive(UnsafeMutableRawBufferPointer(start: nil, count: 0), into: &events)
        #expect(ofNull == .open)
        #expect(events.events() == [])
    }

    @Test func recordsHaveTheirSocket() {
        var reader = MessageReader(
            role: .client, socket: 0xFFFF_FFFE, maximumMessageSize: 100_000, inflating: nil)
        var events = EventRecords()
        let frames =
            [(0x01, 5), (0x80, 5), (0x82, 7), (0x89, 1), (0x8A, 1), (0x02, 20000), (0x80, 1)] as [(UInt8, Int)]
        let input = frames.flatMap { serverFrame($0.0, [UInt8](repeating: 0x61, count: $0.1)) }
        let outcome = reader.receive(input, into: &events)
        #expect(outcome == .open)
        let records = events.records()
        #expect(records.count == 7)
        #expect(records.allSatisfy { $0.socket == 0xFFFF_FFFE })
    }

    /// The same header, masked with the key of the RFC.
    private func withMask(_ header: [UInt8]) -> [UInt8] {
        [header[0], header[1] | 0x80] + header.dropFirst(2) + [0x37, 0xFA, 0x21, 0x3D]
    }
}
