// Pings that wait for their answer. A Ping must be answered with its own payload (RFC 6455 section 5.5.2); when there are
// many, an answer to the latest is enough (5.5.3), so a peer that does not read can't make them pile up.

struct PendingPongs: ~Copyable {
    /// Of each a length byte, then the payload.
    private var payloads = ByteBuffer()

    /// With more bytes than this, those that wait are forgotten when another comes.
    private let backlog: Int

    init(_ thresholds: Thresholds = Thresholds()) { backlog = thresholds.pendingPongs }

    var isEmpty: Bool { payloads.isEmpty }

    /// - Parameter payload: 125 bytes at most.
    mutating func enqueue(_ payload: UnsafeRawBufferPointer) {
        let size = 1 + payload.count
        // Where there is no memory for all of them, the latest is kept alone.
        if payloads.count > backlog || !payloads.reserve(size) { payloads.removeAll() }
        guard payloads.reserve(size) else { return }
        withUnsafeBytes(of: UInt8(truncatingIfNeeded: payload.count)) { _ = payloads.append($0) }
        payloads.append(payload)
    }

    /// The payload of the next answer, valid until the next mutation.
    mutating func dequeue() -> UnsafeRawBufferPointer? {
        guard let length = payloads.bytes.first else { return nil }
        let payload = UnsafeRawBufferPointer(rebasing: payloads.bytes[1..<1 + Int(length)])
        payloads.didRead(1 + Int(length))
        return payload
    }
}
