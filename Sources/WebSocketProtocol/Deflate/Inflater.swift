// Decompression of messages (RFC 7692 section 7.2.2): the only place that calls inflate. The context is
// made when the first compressed byte arrives and given back after each message when nothing may refer
// to it.

import CZlib
import Glibc

struct Inflater: ~Copyable {
    enum Result {
        case done
        /// `remainingInput` bytes of the input are to be given again.
        case paused
        case tooBig, invalid, outOfMemory
    }

    private let parameters: DeflateParameters.Direction
    /// `Thresholds.inflateSpace`.
    private let leastRoom: Int
    /// zlib keeps the address of its stream: it must not move.
    private var stream: UnsafeMutablePointer<z_stream>?
    /// Whether a byte of the current message has come.
    private var hasBegun = false

    /// Bytes at the end of the last input that were not consumed, when the message is too big or inflating has paused.
    var remainingInput: Int { stream.map { Int($0.pointee.avail_in) } ?? 0 }

    init(_ parameters: DeflateParameters.Direction, _ thresholds: Thresholds = Thresholds()) {
        self.parameters = parameters
        leastRoom = thresholds.inflateSpace
    }

    deinit {
        if let stream { Self.end(stream) }
    }

    private static func end(_ stream: UnsafeMutablePointer<z_stream>) {
        inflateEnd(stream)
        stream.deallocate()
    }

    /// Inflates the next bytes of a message to the end of `output`: at most `limit` bytes and one, the byte that proves
    /// the message too big.
    /// - Parameter pause: bytes of output after which it pauses, if there is more input.
    mutating func inflate(
        _ input: UnsafeRawBufferPointer, finishes: Bool, into output: inout ByteBuffer, limit: Int, pause: Int = .max
    ) -> Result {
        // Some senders make no byte at all of an empty message. There is no block to end, and the context stays as it is.
        if input.isEmpty, !hasBegun { return .done }
        hasBegun = true
        guard let stream = stream ?? open() else { return .outOfMemory }
        let before = output.count
        let result = run(stream, input, &output, limit, pause)
        guard finishes, result == .done else { return result }
        // 7.2.2: the four bytes that the sender took off the end.
        let tail: (UInt8, UInt8, UInt8, UInt8) = (0x00, 0x00, 0xFF, 0xFF)
        let inflated = output.count
        let last = withUnsafeBytes(of: tail) { run(stream, $0, &output, limit - (inflated - before), .max) }
        // Between two blocks and at a byte's boundary, none of the four taken for content: anything else is a
        // message cut short. What they would mean is not the sender's.
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
        // A sender with a window of 8 bits may really use 9: zlib has always done so.
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
            let step = min(max(Int(stream.pointee.avail_in) * 8, leastRoom), leastRoom * 8)
            // One more than the limit allows; formed so that no limit is too large for it.
            let produced = output.count - before
            let beforePause = max(pause - min(produced, pause), leastRoom / 2)
            let most = min(limit - produced, beforePause, Int(Int32.max) - 1) + 1
            guard output.reserve(min(step, most)) else { return .outOfMemory }
            let space = UnsafeMutableRawBufferPointer(rebasing: output.writableBytes.prefix(most))
            let room = UInt32(truncatingIfNeeded: space.count)
            stream.pointee.next_out = space.baseAddress!.assumingMemoryBound(to: UInt8.self)
            stream.pointee.avail_out = room
            let status = CZlib.inflate(stream, Z_SYNC_FLUSH)
            output.didWrite(Int(room - stream.pointee.avail_out))
            if output.count - before > limit { return .tooBig }
            // Without more input little can come: a match and the bits that zlib holds.
            if output.count - before >= pause, stream.pointee.avail_in > 0, status == Z_OK { return .paused }
            switch status {
            case Z_OK, Z_BUF_ERROR:
                // Output left over means that all input is used up; no progress, the same.
                if stream.pointee.avail_out > 0 { return stream.pointee.avail_in == 0 ? .done : .invalid }
            case Z_STREAM_END:
                guard restart(stream) else { return .invalid }
                if stream.pointee.avail_in == 0 { return .done }
            case Z_MEM_ERROR: return .outOfMemory
            default: return .invalid
            }
        }
    }

    /// RFC 7692 section 7.2.3.4: a block may be marked as the last one, and more follows all the same, with
    /// the window as it was. Copying the window out and in again would cost a peer two bytes each time.
    private func restart(_ stream: UnsafeMutablePointer<z_stream>) -> Bool { inflateResetKeep(stream) == Z_OK }
}
