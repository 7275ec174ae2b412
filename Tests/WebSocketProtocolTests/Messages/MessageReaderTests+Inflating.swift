// Compressed messages; the examples are those of RFC 7692 section 7.2.3.

import TestSupport
import Testing

@testable import WebSocketProtocol

extension MessageReaderTests {
    private static let takeover = FeedVerifier(inflating: .init())
    private static let noTakeover = FeedVerifier(inflating: .init(takeover: false))
    private static let misplacedRSV1 = "a frame has RSV1 set where it means nothing (RFC 6455 5.2, RFC 7692 6.1)"
    private static let doesNotInflate = "a compressed message does not inflate (RFC 7692 7.2.2)"

    @Test(arguments: [true, false]) func helloInOneFrame(takeover: Bool) {
        let verifier = FeedVerifier(inflating: .init(takeover: takeover))
        let input = serverFrame(0xC1, compressedHello)
        #expect(verifier.verify(input) == Reception(events: [.text("Hello")]))
        #expect(verifier.verify(input + input) == Reception(events: [.text("Hello"), .text("Hello")]))
        let binary: [UInt8] = [0xC2] + input.dropFirst()
        #expect(verifier.verify(binary) == Reception(events: [.binary(Array("Hello".utf8))]))
    }

    @Test func theAddedBytesMakeNoText() {
        // "Jen" and many "n": the message ends within a block, which would go on with the four bytes that the
        // receiver adds, up to 0xFF.
        let input: [UInt8] = [0xC1, 0x07, 0xF2, 0x4A, 0xCD, 0x23, 0x02, 0x00, 0xF1]
        expectFailure(input, .invalidData, Self.doesNotInflate, of: Self.takeover)
    }

    @Test func helloInFragments() {
        let input: [UInt8] = [0x41, 0x03, 0xF2, 0x48, 0xCD, 0x80, 0x04, 0xC9, 0xC9, 0x07, 0x00]
        let reception = Self.takeover.verify(input)
        #expect(reception == Reception(events: [.fragment(received: 2), .text("Hello")]))
    }

    @Test func aMessageRefersToTheMessageBefore() {
        let first = serverFrame(0xC1, compressedHello)
        let second = serverFrame(0xC1, repeatedHello)
        #expect(Self.takeover.verify(first + second).events == [.text("Hello"), .text("Hello")])
        // An uncompressed message and control frames between them change nothing.
        #expect(
            Self.takeover.verify(first + serverFrame(0x81, "a") + serverFrame(0x89, "") + second).events
                == [.text("Hello"), .text("a"), .ping([]), .text("Hello")])
        expectFailure(
            first + second, .invalidData, Self.doesNotInflate, after: [.text("Hello")], of: Self.noTakeover)
    }

    @Test func blockWithoutCompression() {
        let input: [UInt8] = [
            0xC1, 0x0B, 0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00,
        ]
        #expect(Self.takeover.verify(input).events == [.text("Hello")])
    }

    @Test func blockMarkedAsTheLast() {
        let input: [UInt8] = [0xC1, 0x08, 0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00]
        #expect(Self.takeover.verify(input).events == [.text("Hello")])
        // The window is kept.
        let second = serverFrame(0xC1, repeatedHello)
        #expect(Self.takeover.verify(input + second).events == [.text("Hello"), .text("Hello")])
    }

    @Test func twoBlocks() {
        let input: [UInt8] = [
            0xC1, 0x0D, 0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00,
        ]
        #expect(Self.takeover.verify(input).events == [.text("Hello")])
    }

    @Test func emptyMessage() {
        let input: [UInt8] = [0xC1, 0x01, 0x00]
        #expect(Self.takeover.verify(input + input).events == [.text(""), .text("")])
        #expect(Self.noTakeover.verify(input + input).events == [.text(""), .text("")])
    }

    /// Regression: Mojolicious sends an empty message without any byte, though RFC 7692 section 7.2.3.6 says one
    /// byte. Chromium and ws deliver that message, but can't inflate the next one.
    @Test(
        arguments: [
            [0xC1, 0x00], [0x41, 0x00, 0x80, 0x00], [0x41, 0x00, 0x00, 0x00, 0x89, 0x00, 0x80, 0x00],
        ] as [[UInt8]])
    func messageOfNoBytesAtAll(empty: [UInt8]) {
        let hello = serverFrame(0xC1, compressedHello)
        let again = serverFrame(0xC1, repeatedHello)
        func texts(_ verifier: FeedVerifier, _ input: [UInt8]) -> [String] {
            let reception = verifier.verify(input)
            #expect(reception.outcome == .open)
            return reception.events.compactMap { if case .text(let text) = $0 { text } else { nil } }
        }
        #expect(texts(Self.takeover, empty + hello + empty + empty + again) == ["", "Hello", "", "", "Hello"])
        #expect(texts(Self.noTakeover, empty + hello + empty + hello) == ["", "Hello", "", "Hello"])
        #expect(texts(FeedVerifier(maximumMessageSize: 0, inflating: .init()), empty) == [""])
    }

    @Test(
        arguments: [
            [0x41, 0x01, 0xF2, 0x80, 0x00], [0x41, 0x00, 0x00, 0x01, 0xF2, 0x80, 0x00],
            [0x41, 0x05, 0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x80, 0x00],
        ] as [[UInt8]])
    func aMessageCutShortBeforeAnEmptyFrameFails(input: [UInt8]) {
        #expect(Self.takeover.verify(input).failure?.reason == Self.doesNotInflate)
        #expect(Self.noTakeover.verify(input).failure?.reason == Self.doesNotInflate)
    }

    @Test func uncompressedMessagesStayPossible() {
        let input = serverFrame(0x81, "Hello") + serverFrame(0x02, "a") + serverFrame(0x80, "b")
        #expect(Self.takeover.verify(input).events == [.text("Hello"), .fragment(received: 1), .binary([0x61, 0x62])])
    }

    // MARK: - 6.1, RSV1

    @Test(arguments: [0xC8, 0xC9, 0xCA] as [UInt8]) func compressedControlFrame(first: UInt8) {
        expectFailure(serverFrame(first, ""), .protocolError, Self.misplacedRSV1, of: Self.takeover)
        let server = FeedVerifier(role: .server, inflating: .init())
        expectFailure(clientFrame(first, [0x03, 0xE8]), .protocolError, Self.misplacedRSV1, of: server)
    }

    @Test(arguments: [0x40, 0xC0] as [UInt8]) func rsv1OnAContinuation(first: UInt8) {
        expectFailure(
            [0x41, 0x03, 0xF2, 0x48, 0xCD] + serverFrame(first, [0xC9, 0xC9, 0x07, 0x00]), .protocolError,
            Self.misplacedRSV1,
            after: [.fragment(received: 2)], of: Self.takeover)
        expectFailure(
            serverFrame(0x01, "a") + serverFrame(first, "b"), .protocolError, Self.misplacedRSV1,
            after: [.fragment(received: 1)], of: Self.takeover)
    }

    // MARK: - Bad data

    @Test(
        arguments: [
            [0xF2], [0xF2, 0x48, 0xCD, 0xC9, 0xC9], [0x00, 0x0A, 0x00, 0xF5, 0xFF, 0x48], [0xFF, 0xFF],
            [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00, 0x00, 0xFF, 0xFF], [0x07], [0x01, 0x05, 0x00, 0x00, 0x00],
            [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00], [0xF2, 0x00, 0x11, 0x00, 0x00],
        ] as [[UInt8]])
    func cutShortOrGarbage(data: [UInt8]) {
        expectFailure(serverFrame(0xC2, data), .invalidData, Self.doesNotInflate, of: Self.takeover)
    }

    @Test func inflatedTextIsUTF8() {
        // A stored block with C3 28.
        let data: [UInt8] = [0x00, 0x02, 0x00, 0xFD, 0xFF, 0xC3, 0x28, 0x00]
        expectFailure(
            serverFrame(0xC1, data), .invalidData, "a text message is not UTF-8 (RFC 6455 8.1)", of: Self.takeover)
        #expect(Self.takeover.verify(serverFrame(0xC2, data)).events == [.binary([0xC3, 0x28])])
        // C3 alone, at the end.
        expectFailure(
            serverFrame(0xC1, [0x00, 0x01, 0x00, 0xFE, 0xFF, 0xC3, 0x00]), .invalidData,
            "a text message is not UTF-8 (RFC 6455 8.1)", of: Self.takeover)
    }

    // MARK: - The limit

    @Test func theLimitIsOfTheInflatedMessage() throws {
        let payload = [UInt8](repeating: 0x61, count: 5000)
        let compressed = try deflated(payload)
        #expect(compressed.count < 100)
        let frame = serverFrame(0xC2, compressed)
        let exact = FeedVerifier(maximumMessageSize: 5000, inflating: .init())
        #expect(exact.verify(frame + frame).events == [.binary(payload), .binary(payload)])
        expectFailure(
            frame, .tooBig, "a message is larger than 4999 bytes; raise the option maxmessagesize to receive it",
            of: FeedVerifier(maximumMessageSize: 4999, inflating: .init()))
        let fragments = serverFrame(0x42, compressed.prefix(9)) + serverFrame(0x80, compressed.dropFirst(9))
        #expect(exact.verify(fragments).events.last == .binary(payload))
        #expect(
            FeedVerifier(maximumMessageSize: 4999, inflating: .init()).verify(fragments).failure?.code == .tooBig)
    }

    /// Regression: the limit plus one overflowed, and trapped.
    @Test func theLargestLimit() {
        let frame = serverFrame(0xC1, compressedHello)
        let unlimited = FeedVerifier(maximumMessageSize: .max, inflating: .init())
        #expect(unlimited.verify(frame).events == [.text("Hello")])
    }

    @Test func aBombStopsAtTheLimit() throws {
        let bomb = try deflated([UInt8](repeating: 0, count: 8 << 20))
        #expect(bomb.count < 10_000)
        let verifier = FeedVerifier(maximumMessageSize: 100_000, inflating: .init())
        expectFailure(
            serverFrame(0xC2, bomb), .tooBig,
            "a message is larger than 100000 bytes; raise the option maxmessagesize to receive it", of: verifier)
    }

    /// Between the pauses the engine applies its limits and lets other connections work.
    @Test(arguments: [Role.client, .server]) func inflatingPausesWithinAMessage(role: Role)
        throws
    {
        let message = [UInt8](repeating: 0, count: 1 << 20)
        let bomb = try deflated(message)
        let frame = role == .client ? serverFrame(0xC2, bomb) : clientFrame(0xC2, bomb)
        var input = frame + frame
        var reader = FeedVerifier(role: role, inflating: .init(takeover: false)).reader()
        var events = EventRecords()
        var sizes: [Int] = []
        input.withUnsafeMutableBytes { bytes in
            var left = bytes.count
            repeat {
                let rest = UnsafeMutableRawBufferPointer(rebasing: bytes.suffix(left))
                #expect(reader.receive(rest, into: &events) == .open)
                #expect(reader.unconsumed < left, "each call consumes something")
                left = reader.unconsumed
                sizes.append(events.size)
            } while left > 0
        }
        // 128 KiB in the record until a message turns out to be large, then 256 KiB for each call.
        #expect(sizes.count >= 7 && sizes.count <= 10)
        #expect(events.events() == [.binary(message), .binary(message)])
    }

    @Test(arguments: [0, 1, 131_071, 131_072, 131_073, 300_000])
    func inflatedMessagesOfAllSizes(size: Int) throws {
        let text = [UInt8](repeating: 0x61, count: size)
        let input = serverFrame(0xC1, try deflated(text)) + serverFrame(0xC2, try deflated(noise(size)))
        let verifier = FeedVerifier(maximumMessageSize: 300_000, inflating: .init(takeover: false))
        #expect(verifier.verify(input).events == [.text(String(decoding: text, as: UTF8.self)), .binary(noise(size))])
    }

    @Test func largeInflatedMessagesBecomeDetachedBlocks() throws {
        let payload = noise(200_000)
        var reader = Self.takeover.reader()
        var events = EventRecords()
        _ = reader.receive(serverFrame(0xC2, try deflated(payload)), into: &events)
        let records = events.records()
        #expect(records.map(\.event) == [.binary(payload)])
        #expect(records.first?.isDetached == true)
    }

    /// Regression: the four bytes that the receiver adds counted as content of a stored block.
    @Test func aStoredBlockWithoutItsLastFourBytesIsCutShort() {
        let block: [UInt8] = [0x00, 0x08, 0x00, 0xF7, 0xFF, 0x61, 0x62, 0x63, 0x64]
        expectFailure(serverFrame(0xC2, block), .invalidData, Self.doesNotInflate, of: Self.takeover)
    }

    /// Regression: a message cut within a block was delivered with bytes that nobody had sent, if the four bytes that
    /// the receiver adds made it larger than `inflateIntoRecord`.
    @Test(arguments: [0, 1, 2, 116, 117, 500])
    func aMessageThatEndsWithinABlockIsCutShortAtAnySize(less: Int) throws {
        let before = try deflated([UInt8](repeating: 0x7A, count: 131_072 - 7 - less)) + [0x00, 0x00, 0xFF, 0xFF]
        let cut: [UInt8] = [0x00, 0x02, 0x00, 0xFD, 0xFF, 0x61, 0x62, 0xF2, 0x0F, 0x15, 0x28, 0x10, 0x1F, 0x00]
        expectFailure(serverFrame(0xC2, before + cut), .invalidData, Self.doesNotInflate, of: Self.takeover)
    }

    /// Regression: in one piece the input failed because of the stream, in several pieces because of the text.
    @Test func badTextBeforeABadStreamFailsForTheText() {
        let input: [UInt8] = [
            0xC1, 0x07, 0xF2, 0x48, 0xCD, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xCD, 0xC9, 0xC9, 0x07, 0x11,
        ]
        let outcome = FeedVerifier(inflating: .init(windowBits: 9, takeover: false)).verify(input).outcome
        guard case .failed(let failure) = outcome else {
            Issue.record("accepted")
            return
        }
        #expect(failure.code == .invalidData)
    }

    @Test(.enabled(if: canExhaustMemory)) func outOfMemoryForInflating() async {
        await #expect(processExitsWith: .success) {
            var reader = FeedVerifier(inflating: .init()).reader()
            var events = EventRecords()
            let outcome = withoutMemory { reader.receive([0xC1, 0x01, 0x00], into: &events) }
            #expect(outcome == .failed(ProtocolFailure(.internalError, "out of memory for inflating a message")))
        }
    }

    private func deflated(_ message: [UInt8]) throws -> [UInt8] {
        var deflater = Deflater(.init(), level: 9)!
        let compressed = deflater.deflated(message)
        return try #require(compressed)
    }
}
