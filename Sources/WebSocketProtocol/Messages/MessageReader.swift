// The receiving half of an open WebSocket connection (RFC 6455 sections 5 to 7): bytes of the peer in, event records
// and pongs out. Pure: no descriptor, clock or lock; one thread at a time uses it, which is the one that runs the
// loop. Both roles. Sending needs none of this state: see FrameEncoder.
//
// OpenConnection (and the echo server) calls `receive`, or `payloadDestination` and `didReadPayload`, with the bytes
// that it has read. Then it looks at the outcome, at `dequeuePong` and at `unconsumed`. After `.closed` or `.failed`
// every further byte is ignored (section 1.4).
//
// This file has the input; +WholeMessages the fast path, +Frames the rules for frames, +Messages those for messages, +Inflating
// compressed ones, +LargePayloads the reads into a message.

import CEvents

public struct MessageReader: ~Copyable {
    public enum Outcome: Equatable {
        case open
        /// The peer's Close frame. Answer it unless our Close was sent before (section 5.5.1).
        case closed(CloseFrame)
        /// Send a Close with the failure's code, then drop the connection (section 7.1.7).
        case failed(ProtocolFailure)
    }

    // The connection, fixed.
    let role: Role
    let debug: Bool
    let socket: UInt32
    let maximumMessageSize: Int
    let keepaliveKey: UInt32?
    let thresholds: Thresholds

    var outcome = Outcome.open
    /// Bytes at the end of the last input that `receive` left. Non-zero when it has inflated `inflatedPerCall` bytes:
    /// deliver the events, let other connections work, then pass these bytes again.
    public private(set) var unconsumed = 0

    // The frame that is being read.
    var headerAssembler = HeaderAssembler()
    var frame: IncomingFrame?
    /// Payload of the control frame that is being read.
    var control = ByteBuffer()

    // The message that is being put together.
    var messageOpcode: Opcode?
    var messageIsCompressed = false
    var message = ByteBuffer()
    var utf8 = UTF8Validator()
    var inflater: Inflater?

    var pongs: PendingPongs
    /// Payload of the first pong in a read that answers one of our keepalive pings. The owner sets it to nil when it
    /// has measured the latency.
    public var keepalivePong: UInt64?

    /// - Parameters:
    ///   - socket: id of the websocket, written into each record.
    ///   - maximumMessageSize: upper bound of a message's size in bytes, after inflating.
    ///   - inflating: the negotiated parameters of the peer's compression; nil without.
    ///   - keepaliveKey: pongs of 8 bytes that begin with it answer keepalive pings and make no record.
    ///   - debug: a DEBUG record describes each frame.
    public init(
        role: Role, socket: UInt32 = 0, maximumMessageSize: Int,
        inflating: DeflateParameters.Direction?, keepaliveKey: UInt32? = nil, debug: Bool = false,
        thresholds: Thresholds = Thresholds()
    ) {
        self.role = role
        self.debug = debug
        self.socket = socket
        self.maximumMessageSize = maximumMessageSize
        self.keepaliveKey = keepaliveKey
        self.thresholds = thresholds
        pongs = PendingPongs(thresholds)
        inflater = inflating.map { Inflater($0, thresholds) }
    }

    /// Whether a frame or a message has begun and is not whole.
    public var isInMessage: Bool { frame != nil || messageOpcode != nil || headerAssembler.count > 0 }

    public var hasPongs: Bool { !pongs.isEmpty }

    /// Removes the next pong to send and returns its payload, valid until the next mutation.
    public mutating func dequeuePong() -> UnsafeRawBufferPointer? { pongs.dequeue() }

    /// For an owner that can't go on: every further byte is ignored.
    public mutating func fail(_ failure: ProtocolFailure) { outcome = .failed(failure) }

    // MARK: - Input

    /// Parses bytes of the peer, in any cut, and appends records for them. Sets `unconsumed`. The bytes may be
    /// changed: a server unmasks them in place.
    public mutating func receive(_ input: UnsafeMutableRawBufferPointer, into records: inout EventRecords) -> Outcome {
        unconsumed = 0
        guard outcome == .open, var p = input.baseAddress else { return outcome }
        let end = p + input.count
        let before = records.size
        do throws(ProtocolFailure) {
            while p < end {
                if frame == nil {
                    p = try readWholeMessages(p, end, &records)
                    guard p < end, let header = try readHeader(&p, end) else { break }
                    try beginFrame(header, &records)
                }
                let count = min(frame?.remaining ?? 0, end - p)
                let left = try receivePayload(UnsafeMutableRawBufferPointer(start: p, count: count), &records)
                p += count - left
                let hasInflatedEnough = inflater != nil && records.size - before >= thresholds.inflatedPerCall
                if left > 0 || outcome == .open && hasInflatedEnough {
                    unconsumed = end - p
                    break
                }
                if outcome != .open { break }
            }
        } catch {
            outcome = .failed(error)
        }
        return outcome
    }

    /// Reads a header at `p` and moves `p` after it; nil when the rest of the header has not arrived.
    @inline(__always)
    private mutating func readHeader(
        _ p: inout UnsafeMutableRawPointer, _ end: UnsafeMutableRawPointer
    ) throws(ProtocolFailure) -> FrameHeader? {
        if headerAssembler.count == 0, end - p >= 2 {
            let size = FrameHeader.size(secondByte: p.load(fromByteOffset: 1, as: UInt8.self))
            if end - p >= size {
                let header = try FrameHeader(reading: p)
                p += size
                return header
            }
        }
        return try headerAssembler.append(&p, end)
    }
}
