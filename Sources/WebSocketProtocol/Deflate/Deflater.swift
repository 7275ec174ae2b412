// Compression of messages (RFC 7692 section 7.2.1): the only file that calls zlib's deflate. Owns one zlib stream,
// which is made for the first compressed message. Used on the loop thread by OutgoingDeflate.

import CZlib
import Glibc

public struct Deflater: ~Copyable {
    private let parameters: DeflateParameters.Direction
    private let level: Int
    /// On the heap, because zlib keeps its address.
    private var stream: UnsafeMutablePointer<z_stream>?

    /// nil for a window of 8 bits, which zlib's deflate does not have. Every message then goes uncompressed, which
    /// RFC 7692 section 6 always allows.
    /// - Parameter level: zlib's, 0 to 9, or -1 for its default.
    public init?(_ parameters: DeflateParameters.Direction, level: Int) {
        guard parameters.windowBits > 8 else { return nil }
        self.parameters = parameters
        self.level = level
    }

    deinit {
        if let stream { Self.end(stream) }
    }

    private static func end(_ stream: UnsafeMutablePointer<z_stream>) {
        deflateEnd(stream)
        stream.deallocate()
    }

    /// Appends the next piece of a message, compressed, to `output`. Returns false if allocation fails; the deflater
    /// can't be used any more then.
    /// - Parameters:
    ///   - piece: 1 GiB at most.
    ///   - isFirst, isLast: whether the message begins, or ends, with this piece.
    public mutating func deflate(
        _ piece: UnsafeRawBufferPointer, isFirst: Bool = true, isLast: Bool = true, to output: inout ByteBuffer
    ) -> Bool {
        guard let stream = stream ?? open() else { return false }
        if piece.isEmpty, isFirst, isLast {
            // 7.2.3.6: an empty message is one byte. zlib would write no byte for a second flush in a row.
            return withUnsafeBytes(of: 0 as UInt8) { output.append($0) }
        }
        stream.pointee.next_in = piece.baseAddress.map {
            UnsafeMutablePointer(mutating: $0.assumingMemoryBound(to: UInt8.self))
        }
        stream.pointee.avail_in = UInt32(piece.count)
        repeat {
            guard output.reserve(Int(deflateBound(stream, UInt(stream.pointee.avail_in))) + 16) else { return false }
            let room = min(output.writableBytes.count, Int(Int32.max))
            stream.pointee.next_out = output.writableBytes.baseAddress!.assumingMemoryBound(to: UInt8.self)
            stream.pointee.avail_out = UInt32(room)
            _ = CZlib.deflate(stream, isLast ? Z_SYNC_FLUSH : Z_NO_FLUSH)
            output.didWrite(room - Int(stream.pointee.avail_out))
        } while stream.pointee.avail_out == 0
        guard isLast else { return true }
        if !parameters.takeover { deflateReset(stream) }
        // 7.2.1: the message ends with an empty stored block, of which the last four bytes are left out.
        output.truncate(to: output.count - 4)
        return true
    }

    /// Frees the zlib stream if the next message does not need it.
    public mutating func freeIdleMemory() {
        guard !parameters.takeover, let stream else { return }
        Self.end(stream)
        self.stream = nil
    }

    private mutating func open() -> UnsafeMutablePointer<z_stream>? {
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        stream.initialize(to: z_stream())
        guard ws_deflate_init(stream, Int32(level), Int32(parameters.windowBits), 8) == Z_OK else {
            stream.deallocate()
            return nil
        }
        self.stream = stream
        return stream
    }
}
