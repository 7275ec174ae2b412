// Encodes whole frames to the end of a buffer: the header, then the payload, masked while it is copied. Pure. Called
// on Lua's thread for messages, on the loop thread for control frames and compressed messages.

public enum FrameEncoder {
    /// Upper bound of the bytes that a frame adds to its payload.
    public static let maximumOverhead = FrameHeader.maximumSize

    /// Appends one unfragmented frame whose payload is `parts`, joined; `count` is the sum of their sizes. A client
    /// passes a mask, a server none (RFC 6455 section 5.1). Returns false, and changes nothing, if allocation fails.
    public static func append(
        _ opcode: Opcode, compressed: Bool = false, _ parts: UnsafeBufferPointer<UnsafeRawBufferPointer>, count: Int,
        mask: Mask?, to buffer: inout ByteBuffer
    ) -> Bool {
        guard buffer.reserve(count + maximumOverhead) else { return false }
        let header = FrameHeader(rsv1: compressed, opcode: opcode, mask: mask, length: count)
        let target = buffer.writableBytes.baseAddress!
        var size = header.write(to: target)
        let payload = size
        for part in parts {
            guard let bytes = part.baseAddress else { continue }
            // Without a mask the key is zero, so that XOR copies.
            let key = (mask ?? Mask(key: 0)).advanced(by: size - payload)
            key.apply(bytes, target + size, part.count)
            size += part.count
        }
        buffer.didWrite(size)
        return true
    }

    public static func append(
        _ opcode: Opcode, compressed: Bool = false, _ payload: UnsafeRawBufferPointer, mask: Mask?,
        to buffer: inout ByteBuffer
    ) -> Bool {
        withUnsafePointer(to: payload) {
            append(
                opcode, compressed: compressed, UnsafeBufferPointer(start: $0, count: 1), count: payload.count,
                mask: mask,
                to: &buffer)
        }
    }

    public static func append(_ close: CloseFrame, mask: Mask?, to buffer: inout ByteBuffer) -> Bool {
        close.body.withUnsafeBytes { append(.close, $0, mask: mask, to: &buffer) }
    }

    /// The first frame in a buffer of whole frames without masks: opcode, payload, and the frame's size in bytes. The
    /// payload is valid until the buffer's next mutation.
    public static func first(
        in frames: borrowing ByteBuffer
    ) -> (opcode: Opcode, isCompressed: Bool, payload: UnsafeRawBufferPointer, size: Int)? {
        guard let p = frames.bytes.baseAddress, frames.count > 0, let header = try? FrameHeader(reading: p) else {
            return nil
        }
        let start = FrameHeader.size(secondByte: p.load(fromByteOffset: 1, as: UInt8.self))
        return (
            header.opcode, header.rsv1, UnsafeRawBufferPointer(start: p + start, count: header.length),
            start + header.length
        )
    }

    /// A debug line for each frame in a buffer of whole frames.
    public static func descriptions(of frames: borrowing ByteBuffer) -> [String] {
        var lines: [String] = []
        var rest = UnsafeRawBufferPointer(frames.bytes)
        while let p = rest.baseAddress, rest.count >= 2, let header = try? FrameHeader(reading: p) {
            lines.append(header.description)
            let size = FrameHeader.size(secondByte: rest[1]) + header.length
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(size))
        }
        return lines
    }
}
