// What a script sends on its way through the compressor (RFC 7692): frames of the outbox, which have no masks yet,
// become those that leave.

import WebSocketProtocol

struct Compression: ~Copyable {
    private var deflater: Deflater
    /// Smaller messages go uncompressed.
    private let threshold: Int
    /// Taken from the outbox, and not compressed yet.
    private var frames = ByteBuffer()

    /// So much is compressed before it is written.
    private static let inTurn = 256 << 10
    /// A buffer that is empty keeps at most so much.
    private static let idleCapacity = 64 << 10

    /// nil where messages go uncompressed: see Deflater.
    init?(_ direction: DeflateParameters.Direction, _ options: Options.Deflate) {
        guard let deflater = Deflater(direction, level: options.level) else { return nil }
        self.deflater = deflater
        threshold = max(options.threshold, 1)
    }

    /// Bytes that wait here.
    var count: Int { frames.count }

    /// Takes what waits in the outbox, unless there is still something from before.
    mutating func take(from outbox: borrowing Mutex<Outbox>) {
        if frames.isEmpty { outbox.withLock { $0.take(&frames) } }
    }

    /// Makes real frames, not more at once than is worth a write. False when memory or randomness is out.
    mutating func compress(to wire: inout ByteBuffer, _ random: inout RandomPool) -> Bool {
        while wire.count < Self.inTurn, let frame = FrameWriter.first(in: frames) {
            guard let key = random.next() else { return false }
            var payload = frame.payload
            let compresses = !frame.opcode.isControl && payload.count >= threshold
            if compresses {
                guard let deflated = deflater.deflate(payload) else { return false }
                payload = deflated
            }
            guard FrameWriter.append(frame.opcode, compressed: compresses, payload, mask: Mask(key: key), to: &wire)
            else { return false }
            frames.consume(frame.size)
        }
        if frames.isEmpty {
            frames.removeAll(keepingAtMost: Self.idleCapacity)
            deflater.rest()
        }
        return true
    }
}
