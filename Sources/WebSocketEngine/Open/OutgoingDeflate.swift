// What a script sends on its way through the compressor (RFC 7692): frames of the sendQueue, which have no masks yet,
// become those that leave. A large message takes many turns of the loop.

import WebSocketProtocol

struct OutgoingDeflate: ~Copyable {
    /// The result of one call of `compress`.
    enum Step {
        /// As much as is worth a write was made, or there is nothing more.
        case made
        /// A large message is not ready: call again in the next turn.
        case unfinished
        /// Memory or randomness is out.
        case failed
    }

    /// A large message, and how much of its payload is in the frame.
    private struct Large: ~Copyable {
        var frame: FrameBuilder
        var used = 0
    }

    private var deflater: Deflater
    /// Smaller messages go uncompressed.
    private let threshold: Int
    /// Taken from the sendQueue, and not compressed yet.
    private var frames = ByteBuffer()
    /// The first of `frames`, when it is large and was begun.
    private var large: Large?
    /// What the last small message became.
    private var output = ByteBuffer()

    /// Bytes of messages that are compressed in one turn: about a millisecond.
    static let piece = 32 << 10
    /// Bytes of frames after which they are written.
    private static let enough = 256 << 10
    /// A buffer that is empty keeps at most so much.
    private static let idleCapacity = 64 << 10

    /// nil where messages go uncompressed: see Deflater.
    init?(_ direction: DeflateParameters.Direction, _ options: Options.Deflate) {
        guard let deflater = Deflater(direction, level: options.level) else { return nil }
        self.deflater = deflater
        threshold = max(options.threshold, 1)
    }

    /// Bytes of messages that the last `compress` took.
    private(set) var used = 0

    /// Bytes that wait here.
    var count: Int { frames.count }

    /// Takes what waits in the sendQueue, unless there is still something from before.
    mutating func take(from sendQueue: borrowing Mutex<SendQueue>) {
        if frames.isEmpty { sendQueue.withLock { $0.take(&frames) } }
    }

    /// Makes real frames in `writeBuffer`, which is empty: not more at once than a turn may take.
    mutating func compress(to writeBuffer: inout ByteBuffer, _ random: inout RandomPool) -> Step {
        used = 0
        while writeBuffer.count < Self.enough, used < Self.piece, let frame = FrameEncoder.first(in: frames) {
            if frame.payload.count > Self.piece {
                // The small frames before it are written first.
                guard writeBuffer.isEmpty else { return .made }
                return compressLarge(frame.opcode, frame.payload, size: frame.size, to: &writeBuffer, &random)
            }
            guard let key = random.next() else { return .failed }
            var payload = frame.payload
            used += payload.count
            let compresses = !frame.opcode.isControl && payload.count >= threshold
            if compresses {
                output.removeAll()
                guard deflater.deflate(payload, to: &output) else { return .failed }
                payload = UnsafeRawBufferPointer(output.bytes)
            }
            guard
                FrameEncoder.append(
                    frame.opcode, compressed: compresses, payload, mask: Mask(key: key), to: &writeBuffer)
            else { return .failed }
            frames.didRead(frame.size)
        }
        if frames.isEmpty { rest() }
        return .made
    }

    private mutating func compressLarge(
        _ opcode: Opcode, _ payload: UnsafeRawBufferPointer, size: Int, to writeBuffer: inout ByteBuffer,
        _ random: inout RandomPool
    ) -> Step {
        var large: Large
        if let begun = self.large.take() {
            large = begun
        } else {
            guard let key = random.next(),
                let frame = FrameBuilder(opcode, compressed: payload.count >= threshold, mask: Mask(key: key))
            else { return .failed }
            large = Large(frame: frame)
        }
        let piece = UnsafeRawBufferPointer(rebasing: payload[large.used...].prefix(Self.piece))
        let isLast = large.used + piece.count == payload.count
        guard large.frame.append(piece, isFirst: large.used == 0, isLast: isLast, &deflater) else { return .failed }
        large.used += piece.count
        used = piece.count
        guard isLast else {
            self.large = consume large
            return .unfinished
        }
        large.frame.finish(into: &writeBuffer)
        frames.didRead(size)
        if frames.isEmpty { rest() }
        return .made
    }

    /// Gives back what is not needed until the next message.
    private mutating func rest() {
        frames.removeAll(keepingAtMost: Self.idleCapacity)
        output.removeAll(keepingAtMost: 0)
        deflater.rest()
    }
}
