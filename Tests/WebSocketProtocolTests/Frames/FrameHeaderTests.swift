import Testing

@testable import WebSocketProtocol

@Suite struct FrameHeaderTests {
    struct Example: Sendable {
        var wire: [UInt8]
        var header: FrameHeader

        init(_ wire: [UInt8], _ header: FrameHeader) {
            self.wire = wire
            self.header = header
        }
    }

    static let mask = Mask(key: 0x3D21_FA37)
    static let examples = [
        Example([0x81, 0x05], FrameHeader(opcode: .text, mask: nil, length: 5)),
        Example([0x01, 0x00], FrameHeader(fin: false, opcode: .text, mask: nil, length: 0)),
        Example([0x80, 0x7D], FrameHeader(opcode: .continuation, mask: nil, length: 125)),
        Example([0xC2, 0x01], FrameHeader(rsv1: true, opcode: .binary, mask: nil, length: 1)),
        Example([0x42, 0x01], FrameHeader(fin: false, rsv1: true, opcode: .binary, mask: nil, length: 1)),
        Example([0x88, 0x02], FrameHeader(opcode: .close, mask: nil, length: 2)),
        Example([0x89, 0x85, 0x37, 0xFA, 0x21, 0x3D], FrameHeader(opcode: .ping, mask: mask, length: 5)),
        Example([0x8A, 0xFD, 0x37, 0xFA, 0x21, 0x3D], FrameHeader(opcode: .pong, mask: mask, length: 125)),
        Example([0x82, 0x7E, 0x00, 0x7E], FrameHeader(opcode: .binary, mask: nil, length: 126)),
        Example([0x82, 0x7E, 0x01, 0x00], FrameHeader(opcode: .binary, mask: nil, length: 256)),
        Example(
            [0x82, 0xFE, 0xFF, 0xFF, 0x37, 0xFA, 0x21, 0x3D], FrameHeader(opcode: .binary, mask: mask, length: 65535)),
        Example([0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0], FrameHeader(opcode: .binary, mask: nil, length: 65536)),
        Example(
            [0x81, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x37, 0xFA, 0x21, 0x3D],
            FrameHeader(opcode: .text, mask: mask, length: .max)),
    ]

    @Test(arguments: examples) func reads(example: Example) throws {
        #expect(try read(example.wire) == example.header)
        #expect(FrameHeader.size(secondByte: example.wire[1]) == example.wire.count)
    }

    @Test(arguments: examples) func writes(example: Example) {
        var bytes = [UInt8](repeating: 0xEE, count: FrameHeader.maximumSize)
        let size = bytes.withUnsafeMutableBytes { example.header.write(to: $0.baseAddress!) }
        #expect(Array(bytes.prefix(size)) == example.wire)
        #expect(bytes.dropFirst(size).allSatisfy { $0 == 0xEE }, "nothing behind the header is touched")
    }

    @Test(
        arguments: [(0x00, 2), (0x7D, 2), (0x7E, 4), (0x7F, 10), (0x80, 6), (0xFD, 6), (0xFE, 8), (0xFF, 14)]
            as [(UInt8, Int)])
    func theSecondByteDeterminesTheSize(byte: UInt8, size: Int) {
        #expect(FrameHeader.size(secondByte: byte) == size)
        #expect(size <= FrameHeader.maximumSize)
    }

    struct Refusal: Sendable {
        var wire: [UInt8]
        var reason: String

        init(_ wire: [UInt8], _ reason: String) {
            self.wire = wire
            self.reason = reason
        }
    }

    @Test(arguments: [
        Refusal([0xA1, 0x00], "a frame has reserved bits set (RFC 6455 5.2)"),
        Refusal([0x91, 0x00], "a frame has reserved bits set (RFC 6455 5.2)"),
        Refusal([0x83, 0x00], "a frame has the reserved opcode 3 (RFC 6455 5.2)"),
        Refusal([0x8F, 0x00], "a frame has the reserved opcode 15 (RFC 6455 5.2)"),
        Refusal([0x82, 0x7E, 0x00, 0x7D], "a frame's length is not in its shortest form (RFC 6455 5.2)"),
        Refusal(
            [0x82, 0x7F, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], "a frame's length is not in its shortest form (RFC 6455 5.2)"),
        Refusal([0x82, 0x7F, 0x80, 0, 0, 0, 0, 1, 0, 0], "a frame's length has its top bit set (RFC 6455 5.2)"),
        Refusal([0x09, 0x00], "a control frame is fragmented (RFC 6455 5.5)"),
        Refusal([0x89, 0x7E, 0x00, 0x7E], "a control frame is longer than 125 bytes (RFC 6455 5.5)"),
    ])
    func refuses(refusal: Refusal) {
        #expect(throws: ProtocolFailure(.protocolError, refusal.reason)) { try read(refusal.wire) }
    }

    private func read(_ wire: [UInt8]) throws -> FrameHeader {
        try wire.withUnsafeBytes { try FrameHeader(reading: $0.baseAddress!) }
    }
}
