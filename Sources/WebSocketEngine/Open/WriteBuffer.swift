// Frames on their way to the kernel, whole and in order: what the script sent, compressed or as it is, and between its
// messages the engine's control frames.

import WebSocketProtocol

struct WriteBuffer: ~Copyable {
    private var frames = ByteBuffer()
    private var compression: OutgoingDeflate?

    /// With more than so much a buffer is large. While it is used again and again, asking the system for its memory
    /// each time would cost more than the copying: what has been empty for a moment gives it back.
    private static let idleCapacity = 64 << 10

    init(_ compression: consuming OutgoingDeflate?) { self.compression = compression }

    var deflates: Bool { compression != nil }

    /// What leaves next, valid until the next mutation.
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(frames.bytes) }
    var count: Int { frames.count }
    var isEmpty: Bool { frames.isEmpty }
    /// Bytes that were taken from the sendQueue and have not left; not compressed yet, where that comes.
    var taken: Int { frames.count + uncompressed }
    var uncompressed: Int {
        switch compression {
        case let compression?: compression.count
        case nil: 0
        }
    }
    /// Bytes of messages that the last `refill` compressed.
    var compressed: Int {
        switch compression {
        case let compression?: compression.used
        case nil: 0
        }
    }
    var isLarge: Bool { frames.capacity > Self.idleCapacity }

    /// The engine begins to write: until it finds nothing left, Lua's thread must not. A frame that it has begun goes
    /// first.
    mutating func takeOwnership(_ sendQueue: borrowing Mutex<SendQueue>) {
        sendQueue.withLock { $0.takeOwnership(&frames) }
    }

    /// Takes what comes next, when the frames before have left; if there is nothing, the claim ends.
    mutating func refill(from sendQueue: borrowing Mutex<SendQueue>, _ random: inout RandomPool) -> OutgoingDeflate.Step
    {
        guard compression != nil else {
            sendQueue.withLock { $0.take(&frames) }
            return .made
        }
        compression!.take(from: sendQueue)
        return compression!.compress(to: &frames, &random)
    }

    /// Adds a control frame. False when memory or randomness is out.
    mutating func append(
        _ opcode: Opcode, _ payload: UnsafeRawBufferPointer, _ sendQueue: borrowing Mutex<SendQueue>,
        _ random: inout RandomPool
    ) -> Bool {
        takeOwnership(sendQueue)
        guard let key = random.next() else { return false }
        return FrameEncoder.append(opcode, payload, mask: Mask(key: key), to: &frames)
    }

    /// Counts bytes that have left.
    mutating func consume(_ count: Int) { frames.didRead(count) }

    /// Gives large memory back that is not in use.
    mutating func shrink(_ sendQueue: borrowing Mutex<SendQueue>) {
        if frames.isEmpty { frames.removeAll(keepingAtMost: Self.idleCapacity) }
        sendQueue.withLock { $0.shrink(keepingAtMost: Self.idleCapacity) }
    }

    /// What each of the frames is, for a log.
    var descriptions: [String] { FrameEncoder.descriptions(of: frames) }
}
