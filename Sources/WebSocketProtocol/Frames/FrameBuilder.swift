// One large frame of a client, made a piece at a time: compressed or as it is, and masked where it stays. Its length is
// known only at the end, so the header is written last, in front of the payload.

public struct FrameBuilder: ~Copyable {
    private let opcode: Opcode
    private let compressed: Bool
    private let mask: Mask
    /// Room for the longest header, then the payload so far.
    private var buffer = ByteBuffer()

    private static let room = FrameHeader.maximumSize

    /// Nil when there is no memory.
    public init?(_ opcode: Opcode, compressed: Bool, mask: Mask) {
        self.opcode = opcode
        self.compressed = compressed
        self.mask = mask
        guard buffer.reserve(Self.room) else { return nil }
        buffer.didWrite(Self.room)
    }

    /// Takes the next piece of the message; the first and the last one are told to the deflater. False when there is no
    /// memory.
    public mutating func append(
        _ piece: UnsafeRawBufferPointer, isFirst: Bool, isLast: Bool, _ deflater: inout Deflater
    ) -> Bool {
        let before = buffer.count
        if compressed {
            guard deflater.deflate(piece, isFirst: isFirst, isLast: isLast, to: &buffer) else { return false }
        } else {
            guard buffer.append(piece) else { return false }
        }
        let added = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[before...])
        if let bytes = added.baseAddress { mask.advanced(by: before - Self.room).apply(bytes, bytes, added.count) }
        return true
    }

    /// Moves the frame to `buffer`, which is empty, once all of the message is in it.
    public consuming func finish(into frames: inout ByteBuffer) {
        let header = FrameHeader(rsv1: compressed, opcode: opcode, mask: mask, length: buffer.count - Self.room)
        withUnsafeTemporaryAllocation(byteCount: Self.room, alignment: 8) { bytes in
            let size = header.write(to: bytes.baseAddress!)
            let start = Self.room - size
            (buffer.bytes.baseAddress! + start).copyMemory(from: bytes.baseAddress!, byteCount: size)
            buffer.didRead(start)
        }
        swap(&buffer, &frames)
    }
}
