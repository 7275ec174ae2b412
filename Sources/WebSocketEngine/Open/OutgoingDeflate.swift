// Compression of outgoing messages (RFC 7692): turns the unmasked frames of SendQueue into compressed ones, masked if we are the client. A large
// message takes many turns of the loop. WriteBuffer owns it, on the thread that runs the loop.

import WebSocketProtocol

struct OutgoingDeflate: ~Copyable {
    /// The result of one call of `compress`.
    enum Step {
        /// The buffer has enough frames for a write, or there are no more.
        case made
        /// A large message is not ready: call again in the next turn.
        case unfinished
        /// Allocation or the random source has failed.
        case failed
    }

    /// A large message, and how many bytes of its payload are compressed.
    private struct LargeMessage: ~Copyable {
        var frame: FrameBuilder
        var compressed = 0
    }

    private let role: Role
    /// The negotiated parameters, if each message is compressed on its own.
    let independent: DeflateParameters.Direction?
    private var deflater: Deflater
    /// Messages of fewer bytes are sent uncompressed.
    private let threshold: Int
    /// Frames of SendQueue that are still to be compressed.
    private var frames = ByteBuffer()
    /// The first of `frames`, if it is large and was begun.
    private var large: LargeMessage?
    /// The compressed payload of one small message.
    private var output = ByteBuffer()

    /// Bytes of messages that are compressed in one turn: about a millisecond.
    static let bytesPerTurn = 32 << 10
    /// Bytes of frames that are enough for a write.
    private static let bytesPerWrite = 256 << 10

    /// nil if messages are sent uncompressed (see Deflater).
    init?(_ role: Role, _ parameters: DeflateParameters, _ options: Options.Deflate) {
        guard let deflater = Deflater(role.outgoing(parameters), level: options.level) else { return nil }
        self.role = role
        let direction = role.outgoing(parameters)
        independent = direction.takeover ? nil : direction
        self.deflater = deflater
        threshold = max(options.threshold, 1)
    }

    /// Bytes of messages that the last `compress` took.
    private(set) var lastCompressedCount = 0

    /// Bytes of frames that are still to be compressed.
    var count: Int { frames.count }

    /// Takes queued frames, unless earlier ones are still to be compressed.
    mutating func take(from sendQueue: borrowing Mutex<SendQueue>) {
        if frames.isEmpty { sendQueue.withLock { $0.take(&frames) } }
    }

    /// Appends frames to the empty `buffer`, no more than one turn may compress.
    mutating func compress(to buffer: inout ByteBuffer, _ random: inout RandomPool) -> Step {
        lastCompressedCount = 0
        while buffer.count < Self.bytesPerWrite, lastCompressedCount < Self.bytesPerTurn,
            let frame = FrameEncoder.first(in: frames)
        {
            if frame.isCompressed {
                // Of a Broadcast: ready for the wire.
                let bytes = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(frames.bytes)[..<frame.size])
                guard buffer.append(bytes) else { return .failed }
                frames.didRead(frame.size)
                continue
            }
            if frame.payload.count > Self.bytesPerTurn {
                // The small frames before it are written first.
                guard buffer.isEmpty else { return .made }
                return compressLarge(frame.opcode, frame.payload, size: frame.size, to: &buffer, &random)
            }
            var mask: Mask?
            guard random.makeMask(&mask, for: role) else { return .failed }
            var payload = frame.payload
            lastCompressedCount += payload.count
            let compresses = !frame.opcode.isControl && payload.count >= threshold
            if compresses {
                output.removeAll()
                guard deflater.deflate(payload, to: &output) else { return .failed }
                payload = UnsafeRawBufferPointer(output.bytes)
            }
            guard FrameEncoder.append(frame.opcode, compressed: compresses, payload, mask: mask, to: &buffer)
            else { return .failed }
            frames.didRead(frame.size)
        }
        if frames.isEmpty { freeIdleMemory() }
        return .made
    }

    private mutating func compressLarge(
        _ opcode: Opcode, _ payload: UnsafeRawBufferPointer, size: Int, to buffer: inout ByteBuffer,
        _ random: inout RandomPool
    ) -> Step {
        var large: LargeMessage
        if let begun = self.large.take() {
            large = begun
        } else {
            var mask: Mask?
            guard random.makeMask(&mask, for: role),
                let frame = FrameBuilder(opcode, compressed: payload.count >= threshold, mask: mask)
            else { return .failed }
            large = LargeMessage(frame: frame)
        }
        let piece = UnsafeRawBufferPointer(rebasing: payload[large.compressed...].prefix(Self.bytesPerTurn))
        let isLast = large.compressed + piece.count == payload.count
        guard large.frame.append(piece, isFirst: large.compressed == 0, isLast: isLast, &deflater) else {
            return .failed
        }
        large.compressed += piece.count
        lastCompressedCount = piece.count
        guard isLast else {
            self.large = consume large
            return .unfinished
        }
        large.frame.finish(into: &buffer)
        frames.didRead(size)
        if frames.isEmpty { freeIdleMemory() }
        return .made
    }

    /// Frees what the next message does not need.
    private mutating func freeIdleMemory() {
        frames.removeAll(keepingAtMost: IdleMemory.capacity)
        output.removeAll(keepingAtMost: 0)
        deflater.freeIdleMemory()
    }
}
