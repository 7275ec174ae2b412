import TestSupport
import Testing

@testable import WebSocketProtocol

@Suite struct InflaterTests {
    // MARK: - RFC 7692 section 7.2.3

    @Test(
        arguments: [
            compressedHello,
            [0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00],
            [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00],
            [0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00],
            // Blocks that are marked as the last one; an empty block.
            [0xF3, 0x48, 0x05, 0x00, 0xCB, 0xC9, 0xC9, 0x07, 0x00, 0x00],
            [0x03, 0x00, 0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00],
        ] as [[UInt8]])
    func hello(compressed: [UInt8]) {
        for takeover in [true, false] {
            for cut in 0...compressed.count {
                var inflater = Inflater(.init(takeover: takeover))
                var output = ByteBuffer()
                let first = inflater.inflate(compressed[..<cut], finishes: false, into: &output, limit: 5)
                let second = inflater.inflate(compressed[cut...], finishes: true, into: &output, limit: 5)
                #expect(first == .done)
                #expect(second == .done)
                #expect(output.array == Array("Hello".utf8))
            }
        }
    }

    @Test func withTakeoverTheWindowIsKept() {
        var inflater = Inflater(.init())
        let first = inflater.inflated(compressedHello)
        let second = inflater.inflated(repeatedHello)
        #expect(first == second)
        var forgetful = Inflater(.init(takeover: false))
        _ = forgetful.inflated(compressedHello)
        let none = forgetful.inflated(repeatedHello)
        #expect(none == nil)
    }

    @Test func theWindowOutlivesABlockMarkedAsTheLast() {
        // The noise twice fills the window; such a block is between them. Then the noise once more.
        let text = noise(20_000)
        var deflater = Deflater(.init(), level: 9)!
        var inflater = Inflater(.init())
        for last in [[], [0x03, 0x00]] as [[UInt8]] {
            let compressed = last + (deflater.deflated(text) ?? [])
            let inflated = inflater.inflated(compressed)
            #expect(inflated == text)
        }
        let third = deflater.deflated(text) ?? []
        #expect(third.count < 1000, "it refers to the message before")
        let inflated = inflater.inflated(third + [0x00, 0x00, 0xFF, 0xFF, 0x03, 0x00, 0x00])
        #expect(inflated == text)
    }

    /// A block of two bytes with no content must not cost more time than other bytes.
    @Test func manyBlocksMarkedAsTheLast() {
        var inflater = Inflater(.init())
        _ = inflater.inflated(compressedHello)
        let blocks = [[UInt8]](repeating: [0x03, 0x00], count: 50_000).flatMap { $0 }
        let inflated = inflater.inflated(blocks + repeatedHello, limit: 5)
        #expect(inflated == Array("Hello".utf8))
    }

    /// RFC 7692 section 7.1.2 allows a window of 8 bits; zlib uses 9 for it.
    @Test func aWindowOf8Bits() {
        var deflater = Deflater(.init(windowBits: 9), level: 9)!
        var inflater = Inflater(.init(windowBits: 8))
        let text = noise(400) + noise(400)
        let inflated = inflater.inflated(deflater.deflated(text) ?? [])
        #expect(inflated == text)
    }

    @Test func aReferenceBehindTheWindowDoesNotInflate() {
        let block = noise(1 << 12)
        var deflater = Deflater(.init(windowBits: 15), level: 9)!
        let compressed = deflater.deflated(block + block + block) ?? []
        var small = Inflater(.init(windowBits: 9))
        // In small steps, because zlib can look back further than its window within one output buffer.
        var output = ByteBuffer()
        var results: [Inflater.Result] = []
        for byte in compressed { results.append(small.inflate([byte], finishes: false, into: &output, limit: 1 << 20)) }
        #expect(results.contains(.invalid))
    }

    // MARK: - Malformed input

    @Test(
        arguments: [
            [0xF2], [0xF2, 0x48, 0xCD, 0xC9, 0xC9], [0xFF], [0x07], [0x06], [0x01, 0x05, 0x00, 0x00, 0x00],
            [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00], repeatedHello,
            [0x00, 0x0A, 0x00, 0xF5, 0xFF, 0x48],
            [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00, 0x00, 0xFF, 0xFF],
        ] as [[UInt8]])
    func cutShortOrGarbage(data: [UInt8]) {
        var inflater = Inflater(.init())
        let inflated = inflater.inflated(data)
        #expect(inflated == nil)
    }

    @Test func everyTruncationOfAMessage() {
        var deflater = Deflater(.init(), level: 6)!
        let compressed = deflater.deflated(
            Array("the quick brown fox jumps over the lazy dog, and over it again".utf8))!
        for count in 1..<compressed.count {
            var inflater = Inflater(.init())
            let inflated = inflater.inflated(Array(compressed[..<count]))
            #expect(inflated == nil, "\(count) bytes of \(compressed.count)")
        }
    }

    @Test func garbageNeverGoesPastTheLimit() {
        for seed in 0..<500 as Range<UInt64> {
            var inflater = Inflater(.init())
            var output = ByteBuffer()
            _ = inflater.inflate(noise(200, seed: seed), finishes: true, into: &output, limit: 1000)
            #expect(output.count <= 1001)
        }
    }

    // MARK: - The limit

    @Test(arguments: [0, 1, 4, 5, 1023, 1024, 1025, 65536, 100_000])
    func theLimitIsExact(count: Int) {
        let message = [UInt8](repeating: 0x61, count: count)
        var deflater = Deflater(.init(), level: 9)!
        let compressed = deflater.deflated(message)!
        var inflater = Inflater(.init())
        let inflated = inflater.inflated(compressed, limit: count)
        #expect(inflated == message)
        guard count > 0 else { return }
        var other = Inflater(.init())
        var output = ByteBuffer()
        let result = other.inflate(compressed, finishes: true, into: &output, limit: count - 1)
        #expect(result == .tooBig)
        #expect(output.count == count)
    }

    /// Memory grows with the bytes that are inflated, never past the limit.
    @Test func aBombStopsAtTheLimit() {
        var deflater = Deflater(.init(), level: 9)!
        let bomb = deflater.deflated([UInt8](repeating: 0, count: 16 << 20))!
        #expect(bomb.count < 20_000)
        for limit in [0, 1, 1000, 100_000, 1 << 20] {
            var inflater = Inflater(.init())
            var output = ByteBuffer()
            let result = inflater.inflate(bomb, finishes: true, into: &output, limit: limit)
            #expect(result == .tooBig)
            #expect(output.count == limit + 1)
            #expect(output.capacity <= max(2 * limit, 1024) + (64 << 10))
        }
    }

    @Test(.enabled(if: canExhaustMemory)) func outOfMemory() async {
        await #expect(processExitsWith: .success) {
            var deflater = Deflater(.init(), level: 9)!
            let compressed = deflater.deflated([UInt8](repeating: 0x61, count: 100_000))!
            // For the stream.
            var unopened = Inflater(.init())
            var output = ByteBuffer()
            let first = withoutMemory { unopened.inflate(compressed, finishes: true, into: &output, limit: .max) }
            #expect(first == .outOfMemory)
            // For the output.
            let large = deflater.deflated(noise(10_000))!
            var opened = Inflater(.init())
            _ = opened.inflated([0x00])
            let second = withoutMemory { opened.inflate(large, finishes: true, into: &output, limit: .max) }
            #expect(second == .outOfMemory)
            // For zlib's window.
            var windowless = Inflater(.init())
            var ample = ByteBuffer()
            ample.reserve(1 << 20)
            _ = windowless.inflated([0x00])
            let third = withoutMemory { windowless.inflate(compressed, finishes: true, into: &ample, limit: .max) }
            #expect(third == .outOfMemory)
        }
    }

    @Test func noInputIsNoError() {
        var inflater = Inflater(.init())
        var output = ByteBuffer()
        let result = inflater.inflate(
            UnsafeRawBufferPointer(start: nil, count: 0), finishes: false, into: &output, limit: 10)
        #expect(result == .done)
        #expect(output.count == 0)
    }
}
