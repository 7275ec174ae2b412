// Whole frames in the order in which they are written: the messages of the script as SendQueue has them, or compressed by
// OutgoingDeflate, and between two of them control frames. It owns the bytes from SendQueue to the socket: what TLS has
// encrypted stays here until the kernel has it. OpenConnection owns it, on the thread that runs the loop.

import WebSocketProtocol

struct WriteBuffer: ~Copyable {
    private var frames = ByteBuffer()
    private var deflate: OutgoingDeflate?
    private let role: Role

    init(_ role: Role, _ deflate: consuming OutgoingDeflate?) {
        self.role = role
        self.deflate = deflate
    }

    var compresses: Bool { deflate != nil }

    /// How messages are compressed, if each is on its own.
    var independentDeflate: DeflateParameters.Direction? {
        switch deflate {
        case let deflate?: deflate.independent
        case nil: nil
        }
    }

    /// The next bytes for the socket, valid until the next mutation.
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(frames.bytes) }
    var count: Int { frames.count }
    var isEmpty: Bool { frames.isEmpty }
    var isLarge: Bool { frames.capacity > IdleMemory.capacity }

    /// Bytes of frames that are still to be compressed.
    var uncompressedCount: Int {
        switch deflate {
        case let deflate?: deflate.count
        case nil: 0
        }
    }
    /// Bytes of messages that the last `refill` compressed.
    var lastCompressedCount: Int {
        switch deflate {
        case let deflate?: deflate.lastCompressedCount
        case nil: 0
        }
    }

    /// Gives the loop the right to write. If Lua's thread has written a part of a frame, the rest of it comes first.
    mutating func takeOwnership(_ sendQueue: borrowing Mutex<SendQueue>) {
        sendQueue.withLock { $0.takeOwnership(&frames) }
    }

    /// Moves queued frames into the empty buffer. If there are none, Lua's thread may write again.
    mutating func refill(from sendQueue: borrowing Mutex<SendQueue>, _ random: inout RandomPool) -> OutgoingDeflate.Step
    {
        guard deflate != nil else {
            sendQueue.withLock { $0.take(&frames) }
            return .made
        }
        deflate!.take(from: sendQueue)
        return deflate!.compress(to: &frames, &random)
    }

    /// Adds a control frame. Returns false if allocation or the random source fails.
    mutating func append(
        _ opcode: Opcode, _ payload: UnsafeRawBufferPointer, _ sendQueue: borrowing Mutex<SendQueue>,
        _ random: inout RandomPool
    ) -> Bool {
        takeOwnership(sendQueue)
        var mask: Mask?
        guard random.makeMask(&mask, for: role) else { return false }
        return FrameEncoder.append(opcode, payload, mask: mask, to: &frames)
    }

    /// The kernel has taken `count` bytes.
    mutating func didWrite(_ count: Int) { frames.didRead(count) }

    /// Frees large memory that is not in use.
    mutating func freeIdleMemory(_ sendQueue: borrowing Mutex<SendQueue>) {
        if frames.isEmpty { frames.removeAll(keepingAtMost: IdleMemory.capacity) }
        sendQueue.withLock { $0.freeIdleMemory() }
    }

    /// A line for `debug` for each frame.
    var descriptions: [String] { FrameEncoder.descriptions(of: frames) }
}
