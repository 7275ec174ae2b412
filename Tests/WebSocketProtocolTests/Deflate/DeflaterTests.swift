import TestSupport
import Testing

@testable import WebSocketProtocol

@Suite struct DeflaterTests {
    private static let hello = Array("Hello".utf8)

    // MARK: - RFC 7692 section 7.2.3

    @Test func helloOnTheWire() {
        var deflater = Deflater(.init(), level: 6)!
        let first = deflater.deflated(Self.hello)
        let second = deflater.deflated(Self.hello)
        #expect(first == compressedHello)
        #expect(second == repeatedHello, "it refers to the first message")
    }

    @Test func withoutTakeoverNothingRefersToTheMessageBefore() {
        var deflater = Deflater(.init(takeover: false), level: 6)!
        for _ in 0..<3 {
            let compressed = deflater.deflated(Self.hello)
            #expect(compressed == compressedHello)
        }
    }

    @Test func withoutCompressionAtLevel0() {
        var deflater = Deflater(.init(), level: 0)!
        let stored = deflater.deflated(Self.hello)
        #expect(stored == [0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00])
    }

    /// 7.2.3.6: one byte. zlib writes no byte for a second flush in a row, and no receiver can inflate that.
    @Test(arguments: [true, false]) func anEmptyMessageAfterAnother(takeover: Bool) {
        var deflater = Deflater(.init(takeover: takeover), level: 6)!
        for message in [[], [], Self.hello, [], []] {
            let compressed = deflater.deflated(message)
            if message.isEmpty { #expect(compressed == [0x00]) }
        }
        var output = ByteBuffer()
        let isDone = deflater.deflate(UnsafeRawBufferPointer(start: nil, count: 0), to: &output)
        #expect(isDone)
        #expect(output.array == [0x00])
    }

    // MARK: - Round trips

    /// Messages that repeat, that are empty, that are larger than the window, and that do not compress.
    private static let messages: [[UInt8]] = [
        hello, hello, [], Array(String(repeating: "the quick brown fox ", count: 4000).utf8), noise(1), [], hello,
        noise(70_000), noise(70_000), [UInt8](repeating: 0, count: 100_000), [],
    ]

    private func expectRoundTrip(
        _ deflater: inout Deflater, _ inflater: inout Inflater, freesMemory: Bool = false,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        for message in Self.messages {
            let inflated = inflater.inflated(deflater.deflated(message) ?? [])
            if inflated != message {
                Issue.record("a message of \(message.count) bytes", sourceLocation: sourceLocation)
            }
            if freesMemory { deflater.freeIdleMemory() }
        }
    }

    @Test(arguments: 9...15, [true, false]) func roundTrip(windowBits: Int, takeover: Bool) {
        let parameters = DeflateParameters.Direction(windowBits: windowBits, takeover: takeover)
        for level in [-1, 0, 1, 9] {
            var deflater = Deflater(parameters, level: level)!
            var inflater = Inflater(parameters)
            expectRoundTrip(&deflater, &inflater)
        }
    }

    @Test func resettingAfterEachMessageNeedsNoTakeoverOfTheReceiver() {
        var deflater = Deflater(.init(takeover: false), level: 6)!
        var inflater = Inflater(.init(takeover: true))
        expectRoundTrip(&deflater, &inflater)
    }

    /// No reference goes back further than the negotiated window.
    @Test(arguments: 9...14) func theWindowIsKept(windowBits: Int) {
        let block = noise(1 << windowBits)
        var small = Deflater(.init(windowBits: windowBits), level: 9)!
        var large = Deflater(.init(windowBits: windowBits + 1), level: 9)!
        let ofSmall = small.deflated(block + block)?.count ?? 0
        let ofLarge = large.deflated(block + block)?.count ?? .max
        #expect(ofSmall > block.count * 2)
        #expect(ofLarge < block.count * 3 / 2)
    }

    // MARK: -

    @Test func aWindowOf8BitsCanNotBeUsed() {
        let eight = Deflater(.init(windowBits: 8), level: 6) == nil
        #expect(eight)
        let nine = Deflater(.init(windowBits: 9), level: 6) == nil
        #expect(!nine)
    }

    @Test(.enabled(if: canExhaustMemory)) func outOfMemory() async {
        await #expect(processExitsWith: .success) {
            let message = noise(10_000)
            var unopened = Deflater(.init(), level: 6)!
            let first = withoutMemory { unopened.deflated(message) }
            #expect(first == nil)
            var opened = Deflater(.init(), level: 6)!
            _ = opened.deflated(message)
            opened.freeIdleMemory()
            let second = withoutMemory { opened.deflated(message) }
            #expect(second == nil)
        }
    }

    @Test(arguments: [true, false]) func freeingIdleMemoryChangesNoMessage(takeover: Bool) {
        var deflater = Deflater(.init(takeover: takeover), level: 6)!
        var inflater = Inflater(.init(takeover: takeover))
        deflater.freeIdleMemory()
        expectRoundTrip(&deflater, &inflater, freesMemory: true)
    }
}
