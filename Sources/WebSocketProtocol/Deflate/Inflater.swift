// Decompression of messages (RFC 7692 section 7.2.2): the only file that calls zlib's inflate. Owns one zlib stream,
// which is made when the first compressed byte arrives; without context takeover it is freed after each message. Used
// on the loop thread by MessageReader.

import CZlib
import Glibc

struct Inflater: ~Copyable {
    enum Result {
        /// All input is consumed.
        case done
        /// `pause` bytes were made; the last `remainingInput` bytes of the input must be passed again.
        case paused
        /// As `paused`, but `limit` was exceeded.
        case tooBig
        case invalid, outOfMemory
    }

    private let parameters: DeflateParameters.Direction
    /// Lower bound of the output space for one call of zlib, in bytes (`Thresholds.inflateSpace`).
    private let minimumSpace: Int
    /// On the heap, because zlib keeps its address.
    private var stream: UnsafeMutablePointer<z_stream>?
    /// Whether a byte of the current message has arrived.
    private var hasBegun = false

    /// Bytes at the end of the last input that were not consumed; non-zero after `tooBig` and `paused`.
    var remainingInput: Int { stream.map { Int($0.pointee.avail_in) } ?? 0 }

    init(_ parameters: DeflateParameters.Direction, _ thresholds: Thresholds = Thresholds()) {
        self.parameters = parameters
        minimumSpace = thresholds.inflateSpace
    }

    deinit {
        if let stream { Self.end(stream) }
    }

    private static func end(_ stream: UnsafeMutablePointer<z_stream>) {
        inflateEnd(stream)
        stream.deallocate()
    }

    /// Inflates the next bytes of a message to the end of `output`: `limit` bytes at most, and one more that proves the
    /// message too big.
    /// - Parameters:
    ///   - finishes: whether the message ends with this input.
    ///   - pause: bytes of output after which it returns `paused` if there is more input.
    mutating func inflate(
        _ input: UnsafeRawBufferPointer, finishes: Bool, into output: inout ByteBuffer, limit: Int, pause: Int = .max
    ) -> Result {
        // Some senders send no byte at all for an empty message. There is no block to end, and the stream stays as it
        // is.
        if input.isEmpty, !hasBegun { return .done }
        hasBegun = true
        guard let stream = stream ?? open() else { return .outOfMemory }
        let before = output.count
        let result = run(stream, input, &output, limit, pause)
        guard finishes, result == .done else { return result }
        // 7.2.2: the four bytes that the sender left out at the end.
        let tail: (UInt8, UInt8, UInt8, UInt8) = (0x00, 0x00, 0xFF, 0xFF)
        let inflated = output.count
        let last = withUnsafeBytes(of: tail) { run(stream, $0, &output, limit - (inflated - before), .max) }
        // A whole message ends between two blocks, at a byte boundary. If the four bytes make output, or if a block
        // is still open after them, the message was cut short; that output is not the sender's.
        if output.count > inflated {
            output.truncate(to: inflated)
            return .invalid
        }
        if last == .done, stream.pointee.data_type & 0xFF != 128 { return .invalid }
        hasBegun = false
        if !parameters.takeover {
            Self.end(stream)
            self.stream = nil
        }
        return last
    }

    private mutating func open() -> UnsafeMutablePointer<z_stream>? {
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        stream.initialize(to: z_stream())
        // A sender that declares a window of 8 bits may use 9: zlib does so.
        guard ws_inflate_init(stream, Int32(max(parameters.windowBits, 9))) == Z_OK else {
            stream.deallocate()
            return nil
        }
        self.stream = stream
        return stream
    }

    private func run(
        _ stream: UnsafeMutablePointer<z_stream>, _ input: UnsafeRawBufferPointer, _ output: inout ByteBuffer,
        _ limit: Int, _ pause: Int
    ) -> Result {
        guard let bytes = input.baseAddress else { return .done }
        stream.pointee.next_in = UnsafeMutablePointer(mutating: bytes.assumingMemoryBound(to: UInt8.self))
        stream.pointee.avail_in = UInt32(truncatingIfNeeded: input.count)
        let before = output.count
        while true {
            let step = min(max(Int(stream.pointee.avail_in) * 8, minimumSpace), minimumSpace * 8)
            // One byte more than the limit allows. Computed without overflow for any limit.
            let produced = output.count - before
            let beforePause = max(pause - min(produced, pause), minimumSpace / 2)
            let most = min(limit - produced, beforePause, Int(Int32.max) - 1) + 1
            guard output.reserve(min(step, most)) else { return .outOfMemory }
            let space = UnsafeMutableRawBufferPointer(rebasing: output.writableBytes.prefix(most))
            let room = UInt32(truncatingIfNeeded: space.count)
            stream.pointee.next_out = space.baseAddress!.assumingMemoryBound(to: UInt8.self)
            stream.pointee.avail_out = room
            let status = CZlib.inflate(stream, Z_SYNC_FLUSH)
            output.didWrite(Int(room - stream.pointee.avail_out))
            if output.count - before > limit { return .tooBig }
            // Without more input zlib can make only a few more bytes, so there is no pause.
            if output.count - before >= pause, stream.pointee.avail_in > 0, status == Z_OK { return .paused }
            switch status {
            case Z_OK, Z_BUF_ERROR:
                // If zlib leaves output space, it has consumed all input.
                if stream.pointee.avail_out > 0 { return stream.pointee.avail_in == 0 ? .done : .invalid }
            case Z_STREAM_END:
                guard restart(stream) else { return .invalid }
                if stream.pointee.avail_in == 0 { return .done }
            case Z_MEM_ERROR: return .outOfMemory
            default: return .invalid
            }
        }
    }

    /// Continues after a block that is marked as the last one: RFC 7692 section 7.2.3.4 allows more blocks, with the
    /// same window. `inflateResetKeep` keeps the window without a copy: a peer can send such a block in two bytes.
    private func restart(_ stream: UnsafeMutablePointer<z_stream>) -> Bool { inflateResetKeep(stream) == Z_OK }
}
