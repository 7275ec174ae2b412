// Builds one large frame of a client from pieces of its message, so that no turn of the loop works on all of it: each
// piece is compressed, or copied, and masked in place if we are the client. The length is known only at the end, so the header is written
// last, in front of the payload. Used on the loop thread by OutgoingDeflate; FrameEncoder makes whole frames.

public struct FrameBuilder: ~Copyable {
    private let opcode: Opcode
    private let compressed: Bool
    private let mask: Mask?
    /// `headerSpace` bytes for the header, then the payload so far.
    private var buffer = ByteBuffer()

    private static let headerSpace = FrameHeader.maximumSize

    /// nil if allocation fails.
    public init?(_ opcode: Opcode, compressed: Bool, mask: Mask?) {
        self.opcode = opcode
        self.compressed = compressed
        self.mask = mask
        guard buffer.reserve(Self.headerSpace) else { return nil }
        buffer.didWrite(Self.headerSpace)
    }

    /// Appends the next piece of the message. Returns false if allocation fails.
    /// - Parameters:
    ///   - isFirst, isLast: whether the message begins, or ends, with this piece.
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
        if let mask, let bytes = added.baseAddress {
            mask.advanced(by: before - Self.headerSpace).apply(bytes, bytes, added.count)
        }
        return true
    }

    /// Writes the header and moves the frame to `frames`, which is empty. The last piece must be appended before.
    public consuming func finish(into frames: inout ByteBuffer) {
        let header = FrameHeader(rsv1: compressed, opcode: opcode, mask: mask, length: buffer.count - Self.headerSpace)
        withUnsafeTemporaryAllocation(byteCount: Self.headerSpace, alignment: 8) { bytes in
            let size = header.write(to: bytes.baseAddress!)
            let start = Self.headerSpace - size
            assert(frames.isEmpty, "frames would be lost")
            (buffer.bytes.baseAddress! + start).copyMemory(from: bytes.baseAddress!, byteCount: size)
            buffer.didRead(start)
        }
        swap(&buffer, &frames)
    }
}
