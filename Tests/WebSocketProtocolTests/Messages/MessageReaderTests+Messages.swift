// Text messages and the size limit.

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
        let bytewise = serverFrame(0x01, "") + bytes.flatMap { serverFrame(0x00, [$0]) } + serverFrame(0x80, "")
        #expect(client.verify(bytewise).events.last == .text("κόσμε😀"))
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
        // Also in a payload that is read straight into its message.
        expectFailure(
            serverFrame(0x81, [UInt8](repeating: 0x61, count: 40_000) + bad), .invalidData, Self.notUTF8, of: client)
        // Binary messages may have any bytes.
        #expect(client.verify(serverFrame(0x82, bad)).events == [.binary(bad)])
    }

    @Test func aMessageMustNotEndWithinACharacter() {
        expectFailure(
            serverFrame(0x01, "a") + serverFrame(0x00, [0xE2, 0x82]) + serverFrame(0x80, ""), .invalidData,
            Self.notUTF8, after: [.fragment(received: 1), .fragment(received: 3)], of: client)
    }

    /// Before the message is whole.
    @Test(arguments: [0, 1, 5, 31, 32, 33, 70])
    func failsAtTheFirstBadByte(position: Int) {
        let header: [UInt8] = [0x81, 0x7E, 0x01, 0x00]
        var reader = client.reader()
        var events = EventRecords()
        let good = reader.receive(header + [UInt8](repeating: 0x61, count: position), into: &events)
        #expect(good == .open)
        let start = reader.receive([0xE2], into: &events)
        #expect(start == .open)
        let bad = reader.receive([0x28], into: &events)
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
        // The claimed length is enough.
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
}
