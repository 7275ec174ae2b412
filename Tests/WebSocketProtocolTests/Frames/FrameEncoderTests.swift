import TestSupport
import Testing

@testable import WebSocketProtocol

@Suite struct FrameEncoderTests {
    private let mask = Mask(key: 0x3D21_FA37)

    // MARK: - RFC 6455 section 5.7

    @Test func unmaskedText() {
        #expect(frame(.text, "Hello") == [0x81, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F])
    }

    @Test func maskedText() {
        #expect(
            frame(.text, "Hello", mask: mask) == [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58])
    }

    @Test func pingAndMaskedPong() {
        #expect(frame(.ping, "Hello") == [0x89, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F])
        #expect(
            frame(.pong, "Hello", mask: mask) == [0x8A, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58])
    }

    @Test(arguments: [0, 1, 125, 126, 65535, 65536, 100_000])
    func everyLength(count: Int) {
        let payload = noise(count)
        #expect(frame(.binary, payload) == serverFrame(0x82, payload))
        #expect(frame(.binary, payload, mask: mask) == clientFrame(0x82, payload))
        #expect(frame(.binary, payload, mask: mask).count <= count + FrameEncoder.maximumOverhead)
    }

    // MARK: -

    @Test func compressedMessagesHaveRSV1() {
        #expect(frame(.text, [0x00], compressed: true) == [0xC1, 0x01, 0x00])
    }

    @Test func framesAreAppended() {
        var buffer = ByteBuffer([0xEE])
        let first = append(.text, Array("a".utf8), to: &buffer)
        let second = append(.ping, [], to: &buffer)
        #expect(first && second)
        #expect(buffer.array == [0xEE, 0x81, 0x01, 0x61, 0x89, 0x00])
    }

    /// The mask continues from part to part.
    @Test func partsAreJoined() {
        let payload = noise(50)
        for (first, second) in [(0, 0), (1, 3), (2, 2), (3, 50), (13, 14), (50, 50)] {
            let bounds = [0..<first, first..<max(first, second), max(first, second)..<50]
            let buffer = payload.withUnsafeBytes { bytes in
                var parts = bounds.map { UnsafeRawBufferPointer(rebasing: bytes[$0]) }
                parts.insert(UnsafeRawBufferPointer(start: nil, count: 0), at: 1)
                var buffer = ByteBuffer()
                let written = parts.withUnsafeBufferPointer {
                    FrameEncoder.append(.binary, $0, count: 50, mask: mask, to: &buffer)
                }
                #expect(written)
                return buffer.array
            }
            #expect(buffer == clientFrame(0x82, payload))
        }
    }

    @Test func closeFrames() {
        var buffer = ByteBuffer()
        let coded = FrameEncoder.append(CloseFrame(code: .normal, reason: "bye"), mask: nil, to: &buffer)
        let empty = FrameEncoder.append(CloseFrame(code: .noStatus), mask: mask, to: &buffer)
        #expect(coded && empty)
        #expect(
            buffer.array == [0x88, 0x05, 0x03, 0xE8, 0x62, 0x79, 0x65] + [0x88, 0x80, 0x37, 0xFA, 0x21, 0x3D])
    }

    @Test func withoutMemoryNothingIsWritten() {
        var buffer = ByteBuffer([1])
        let part = UnsafeRawBufferPointer(start: buffer.bytes.baseAddress, count: .max - 100)
        let written = FrameEncoder.append(.binary, part, mask: nil, to: &buffer)
        #expect(!written)
        #expect(buffer.array == [1])
    }

    // MARK: -

    private func append(_ opcode: Opcode, _ payload: [UInt8], to buffer: inout ByteBuffer) -> Bool {
        payload.withUnsafeBytes { FrameEncoder.append(opcode, $0, mask: nil, to: &buffer) }
    }

    private func frame(_ opcode: Opcode, _ payload: [UInt8], compressed: Bool = false, mask: Mask? = nil) -> [UInt8] {
        var buffer = ByteBuffer()
        let written = payload.withUnsafeBytes {
            FrameEncoder.append(opcode, compressed: compressed, $0, mask: mask, to: &buffer)
        }
        #expect(written)
        return buffer.array
    }

    private func frame(_ opcode: Opcode, _ payload: String, mask: Mask? = nil) -> [UInt8] {
        frame(opcode, Array(payload.utf8), mask: mask)
    }

    @Test func framesAreDescribed() {
        let frames =
            frame(.text, "Hello", mask: mask) + frame(.binary, noise(70_000), compressed: true) + frame(.close, [])
        let lines = ["TEXT, 5 bytes", "BINARY, 70000 bytes, compressed", "CLOSE, 0 bytes"]
        #expect(FrameEncoder.descriptions(of: ByteBuffer(frames)) == lines)
        #expect(FrameEncoder.descriptions(of: ByteBuffer()) == [])
    }

    // MARK: - Frames that wait for compression

    @Test func framesWithoutMasksAreFoundAgain() {
        var frames = ByteBuffer()
        let large = [UInt8](repeating: 7, count: 70_000)
        for payload in [[], [1, 2, 3], [UInt8](repeating: 9, count: 200), large] {
            _ = payload.withUnsafeBytes { FrameEncoder.append(.binary, $0, mask: nil, to: &frames) }
        }
        _ = FrameEncoder.append(CloseFrame(code: .normal), mask: nil, to: &frames)
        var found: [(Opcode, [UInt8])] = []
        while let frame = FrameEncoder.first(in: frames) {
            found.append((frame.opcode, Array(frame.payload)))
            frames.didRead(frame.size)
        }
        #expect(found.map(\.0) == [.binary, .binary, .binary, .binary, .close])
        #expect(found.map(\.1) == [[], [1, 2, 3], [UInt8](repeating: 9, count: 200), large, [0x03, 0xE8]])
        #expect(frames.array == [])
    }
}
