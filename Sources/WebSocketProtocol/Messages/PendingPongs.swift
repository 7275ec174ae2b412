// The pongs that MessageReader owes the peer. Each ping is answered with its payload (RFC 6455 section 5.5.2). When
// many pings wait, an answer to the latest is enough (5.5.3), so a peer that pings and does not read can't use up the
// memory.

/// Public, so that the compiler can inline `MessageReader.hasPongs` into the engine: a call would copy the whole reader.
public struct PendingPongs: ~Copyable {
    /// For each pong a length byte, then the payload.
    private var payloads = ByteBuffer()

    /// When more bytes than this wait, the next ping replaces them.
    private let limit: Int

    init(_ thresholds: Thresholds = Thresholds()) { limit = thresholds.pendingPongs }

    var isEmpty: Bool { payloads.isEmpty }

    /// - Parameter payload: of a ping; 125 bytes at most.
    mutating func enqueue(_ payload: UnsafeRawBufferPointer) {
        let size = 1 + payload.count
        // If allocation fails only the latest is kept.
        if payloads.count > limit || !payloads.reserve(size) { payloads.removeAll() }
        guard payloads.reserve(size) else { return }
        withUnsafeBytes(of: UInt8(truncatingIfNeeded: payload.count)) { _ = payloads.append($0) }
        payloads.append(payload)
    }

    /// Removes the next pong and returns its payload, valid until the next mutation.
    mutating func dequeue() -> UnsafeRawBufferPointer? {
        guard let length = payloads.bytes.first else { return nil }
        let payload = UnsafeRawBufferPointer(rebasing: payloads.bytes[1..<1 + Int(length)])
        payloads.didRead(1 + Int(length))
        return payload
    }
}
