// An open WebSocket connection, without I/O: bytes of the peer in, events and pongs out (RFC 6455
// sections 5 to 7). Both roles. Sending needs none of this state: see FrameEncoder.
//
// The owner calls `receive` (or `payloadDestination` and `didReadPayload`) with whatever arrived, then looks at
// the outcome, at `dequeuePong` and at `unconsumed`. After `.closed` or `.failed` every further byte is ignored (section 1.4).

import CEvents

public struct MessageReader: ~Copyable {
    public enum Role: Sendable { case client, server }

    public enum Outcome: Equatable {
        case open
        /// The peer's Close frame: answer it unless ours is already sent (section 5.5.1).
        case closed(CloseFrame)
        /// Send Close with the failure's code, then drop the connection (section 7.1.7).
        case failed(ProtocolFailure)
    }

    // What this connection is.
    private let role: Role
    private let traces: Bool
    let socket: UInt32
    let maximumMessageSize: Int

    // The frame being read.
    private var outcome = Outcome.open
    private var frame: FrameHeader?
    private var remaining = 0
    private var headerAssembler = HeaderAssembler()
    /// Whether its last bytes went straight to their place: the rest does, however little it is.
    private var readsIntoMessage = false

    // The message being put together.
    private var messageCompressed = false
    var messageOpcode: Opcode?
    private var utf8 = UTF8Validator()
    var message = ByteBuffer()

    /// Bytes at the end of the last input that were not consumed, because inflating them would take too long at once. The
    /// owner delivers the events and lets others work, then gives these bytes again.
    public private(set) var unconsumed = 0

    private var pongs: PendingPongs
    private var control = ByteBuffer()
    private let keepaliveKey: UInt32?
    /// The payload of the first pong of a read that answers a ping with the keepalive's key; the owner takes it away.
    public var keepalivePong: UInt64?
    var inflater: Inflater?
    let thresholds: Thresholds

    /// - Parameters:
    ///   - socket: written into each event record.
    ///   - maximumMessageSize: bytes of one message after inflating.
    ///   - inflating: the parameters that were agreed on for the peer's messages, nil without compression.
    ///   - keepaliveKey: a pong of 8 bytes that begin with it is no event.
    ///   - traces: each frame is told by a DEBUG record.
    public init(
        role: Role, socket: UInt32 = 0, maximumMessageSize: Int,
        inflating: DeflateParameters.Direction?, keepaliveKey: UInt32? = nil, traces: Bool = false,
        thresholds: Thresholds = Thresholds()
    ) {
        self.thresholds = thresholds
        self.keepaliveKey = keepaliveKey
        self.traces = traces
        self.role = role
        self.socket = socket
        self.maximumMessageSize = maximumMessageSize
        pongs = PendingPongs(thresholds)
        inflater = inflating.map { Inflater($0, thresholds) }
    }

    /// Whether the rest of a message is still to come.
    public var isInMessage: Bool { frame != nil || messageOpcode != nil || headerAssembler.count > 0 }

    /// Takes bytes of the peer, in any cut. They may be changed (a server unmasks in place).
    public mutating func receive(_ input: UnsafeMutableRawBufferPointer, into events: inout EventRecords) -> Outcome {
        unconsumed = 0
        guard outcome == .open, var p = input.baseAddress else { return outcome }
        let end = p + input.count
        let before = events.size
        do throws(ProtocolFailure) {
            while p < end {
                if frame == nil {
                    p = try readWholeFrames(p, end, &events)
                    if p == end { break }
                    if headerAssembler.count == 0 {
                        if end - p >= 2 {
                            let size = FrameHeader.size(secondByte: p.load(fromByteOffset: 1, as: UInt8.self))
                            if end - p >= size {
                                try begin(FrameHeader(reading: p), &events)
                                p += size
                            }
                        }
                    }
                    if frame == nil {
                        guard let whole = try headerAssembler.append(&p, end) else { break }
                        try begin(whole, &events)
                    }
                }
                let chunk = UnsafeMutableRawBufferPointer(start: p, count: min(remaining, end - p))
                let left = try payload(chunk, &events)
                p += chunk.count - left
                if left > 0 {
                    unconsumed = end - p
                    break
                }
                if outcome != .open { break }
                if inflater != nil, events.size - before >= thresholds.inflatedPerCall {
                    unconsumed = end - p
                    break
                }
            }
        } catch {
            outcome = .failed(error)
        }
        return outcome
    }

    /// Takes what most messages are, unfragmented, not compressed and all of it here: from the read buffer into the
    /// log, once. Returns where it has come to anything else, which goes the long way.
    private mutating func readWholeFrames(
        _ start: UnsafeMutableRawPointer, _ end: UnsafeMutableRawPointer, _ events: inout EventRecords
    ) throws(ProtocolFailure) -> UnsafeMutableRawPointer {
        guard role == .client, messageOpcode == nil, headerAssembler.count == 0, !traces else { return start }
        var p = start
        while end - p >= 4 {
            let isText = p.load(as: UInt8.self) == 0x81
            guard isText || p.load(as: UInt8.self) == 0x82 else { break }
            var length = Int(p.load(fromByteOffset: 1, as: UInt8.self))
            var payload = p + 2
            if length > 125 {
                // Its own check of the shortest form: what has another is none of these.
                guard length == 126 else { break }
                length = Int(UInt16(bigEndian: p.loadUnaligned(fromByteOffset: 2, as: UInt16.self)))
                guard length > 125 else { break }
                payload += 2
            }
            guard length <= end - payload, length <= maximumMessageSize else { break }
            let message = UnsafeRawBufferPointer(start: payload, count: length)
            if isText { guard UTF8Validator.isText(message) else { throw notUTF8 } }
            guard events.append(type: isText ? WS_EVENT_TEXT : WS_EVENT_BINARY, socket: socket, message) else {
                throw noMemory(length)
            }
            p = payload + length
        }
        return p
    }

    // MARK: - Frames

    /// The checks of a header that depend on what came before it.
    private mutating func begin(_ header: FrameHeader, _ events: inout EventRecords) throws(ProtocolFailure) {
        if traces { events.append(line: "received \(header.description)", socket: socket) }
        if role == .client, header.mask != nil {
            // 5.1: a client must close the connection if it detects a masked frame.
            throw ProtocolFailure(.protocolError, "a frame of the server is masked (RFC 6455 5.1)")
        }
        if role == .server, header.mask == nil {
            // 5.1: the server must close the connection upon a frame that is not masked.
            throw ProtocolFailure(.protocolError, "a frame of the client is not masked (RFC 6455 5.1)")
        }
        if header.rsv1, inflater == nil || header.opcode.isControl || header.opcode == .continuation {
            // 5.2 without compression; RFC 7692 section 6.1: only the first frame of a message has it.
            throw ProtocolFailure(
                .protocolError, "a frame has RSV1 set where it means nothing (RFC 6455 5.2, RFC 7692 6.1)")
        }
        if !header.opcode.isControl { try beginData(header) }
        frame = header
        remaining = header.length
        readsIntoMessage = false
    }

    @inline(__always)
    private mutating func beginData(_ header: FrameHeader) throws(ProtocolFailure) {
        if header.opcode == .continuation {
            guard messageOpcode != nil else {
                // 5.4: a continuation belongs to a message that has begun.
                throw ProtocolFailure(
                    .protocolError, "a continuation frame without a message to continue (RFC 6455 5.4)")
            }
        } else {
            guard messageOpcode == nil else {
                // 5.4: the fragments of one message must not be interleaved with those of another.
                throw ProtocolFailure(.protocolError, "a new message inside a fragmented one (RFC 6455 5.4)")
            }
            messageOpcode = header.opcode
            messageCompressed = header.rsv1
        }
        // The sum is not formed: a claimed length may be anything up to 2^63.
        if !messageCompressed, header.length > maximumMessageSize - message.count { throw tooBig }
    }

    var tooBig: ProtocolFailure {
        ProtocolFailure(
            .tooBig,
            "a message is larger than \(maximumMessageSize) bytes; raise the option maxmessagesize to receive it")
    }

    /// The next bytes of the frame's payload, all of them or a part. Returns how many at the end were not consumed.
    private mutating func payload(_ chunk: UnsafeMutableRawBufferPointer, _ events: inout EventRecords)
        throws(ProtocolFailure) -> Int
    {
        guard let header = frame else { return 0 }
        if let mask = header.mask, let bytes = chunk.baseAddress {
            mask.advanced(by: header.length - remaining).apply(bytes, bytes, chunk.count)
        }
        remaining -= chunk.count
        if header.opcode.isControl {
            control.append(UnsafeRawBufferPointer(chunk))
            guard remaining == 0 else { return 0 }
            frame = nil
            try finishControl(header.opcode, &events)
        } else {
            let left = try data(UnsafeRawBufferPointer(chunk), finishes: remaining == 0 && header.fin, &events)
            remaining += left
            if left > 0 {
                if let mask = header.mask {
                    // These bytes come again, as they came.
                    let rest = UnsafeMutableRawBufferPointer(rebasing: chunk.suffix(left))
                    mask.advanced(by: header.length - remaining).apply(rest.baseAddress!, rest.baseAddress!, left)
                }
                return left
            }
            guard remaining == 0 else { return 0 }
            frame = nil
            if !header.fin { try fragment(&events) }
        }
        return 0
    }

    private mutating func finishControl(_ opcode: Opcode, _ events: inout EventRecords) throws(ProtocolFailure) {
        let body = UnsafeRawBufferPointer(control.bytes)
        defer { control.removeAll(keepingAtMost: 0) }
        switch opcode {
        case .ping:
            pongs.enqueue(body)
            guard events.append(type: WS_EVENT_PING, socket: socket, body) else { throw noMemory(body.count) }
        case .pong:
            if let keepaliveKey, body.count == 8, body.loadUnaligned(as: UInt32.self) == keepaliveKey {
                if keepalivePong == nil { keepalivePong = body.loadUnaligned(as: UInt64.self) }
                return
            }
            guard events.append(type: WS_EVENT_PONG, socket: socket, body) else { throw noMemory(body.count) }
        case .close:
            outcome = .closed(try CloseFrame(body: body))
        case .continuation, .text, .binary: break
        }
    }

    public var hasPongs: Bool { !pongs.isEmpty }

    /// The payload of the next ping to answer, valid until the next mutation.
    public mutating func dequeuePong() -> UnsafeRawBufferPointer? { pongs.dequeue() }

    // MARK: - Messages

    /// Returns how many bytes at the end of the chunk were not consumed.
    private mutating func data(
        _ chunk: UnsafeRawBufferPointer, finishes: Bool, _ events: inout EventRecords
    ) throws(ProtocolFailure) -> Int {
        if messageCompressed {
            switch try inflate(chunk, finishes: finishes, &events) {
            case .inMessage: break
            case .inRecord: return 0
            case .paused(let unconsumed): return unconsumed
            }
        } else if finishes, message.isEmpty {
            // The whole message in one piece: from the read buffer into the log, once.
            try check(chunk, finishes: true)
            try append(chunk, &events)
            return 0
        } else {
            try check(chunk, finishes: finishes)
            try collect(chunk, &events)
        }
        if finishes { try finish(&events) }
        return 0
    }

    /// Text must be UTF-8: 1007 at the first byte that is not (8.1).
    mutating func check(_ chunk: UnsafeRawBufferPointer, finishes: Bool) throws(ProtocolFailure) {
        guard messageOpcode == .text else { return }
        guard utf8.validate(chunk), !finishes || utf8.isComplete else { throw notUTF8 }
    }

    private var notUTF8: ProtocolFailure {
        ProtocolFailure(.invalidData, "a text message is not UTF-8 (RFC 6455 8.1)")
    }

    var messageType: Int { messageOpcode == .text ? WS_EVENT_TEXT : WS_EVENT_BINARY }

    private mutating func append(_ chunk: UnsafeRawBufferPointer, _ events: inout EventRecords) throws(ProtocolFailure)
    {
        let type = messageType
        messageOpcode = nil
        guard events.append(type: type, socket: socket, chunk) else { throw noMemory(chunk.count) }
    }

    private mutating func finish(_ events: inout EventRecords) throws(ProtocolFailure) {
        let type = messageType
        messageOpcode = nil
        let count = message.count
        guard events.append(type: type, socket: socket, moving: &message, detachedFrom: thresholds.detach) else {
            throw noMemory(count)
        }
    }

    private mutating func fragment(_ events: inout EventRecords) throws(ProtocolFailure) {
        let isAppended = withUnsafeBytes(of: UInt64(message.count)) {
            events.append(type: WS_EVENT_FRAGMENT, socket: socket, $0)
        }
        guard isAppended else { throw noMemory(message.count) }
    }

    private mutating func collect(_ chunk: UnsafeRawBufferPointer, _ events: inout EventRecords) throws(ProtocolFailure)
    {
        try reserve(chunk.count, expecting: chunk.count + remaining, &events)
        message.append(chunk)
    }

    /// Room for `count` more bytes; when the message begins, for as much of its first frame as is sensible.
    private mutating func reserve(
        _ count: Int, expecting total: Int, _ events: inout EventRecords
    ) throws(ProtocolFailure) {
        var wanted = count
        if message.capacity == 0 {
            wanted = max(count, min(total, thresholds.reservation))
            if wanted >= thresholds.detach, let block = events.pool.take(atLeast: wanted) { message = block }
        }
        guard message.reserve(wanted) else {
            throw noMemory(message.count)
        }
    }

    private func noMemory(_ count: Int) -> ProtocolFailure {
        ProtocolFailure(.internalError, "out of memory for a message of \(count) bytes or more")
    }

    /// The owner can't go on with this connection: every further byte is ignored.
    public mutating func fail(_ failure: ProtocolFailure) { outcome = .failed(failure) }

    // MARK: - Large payloads

    /// Where the next bytes of the peer may be read to, past the read buffer, while a large frame arrives;
    /// nil at all other times. Valid until the next call.
    public mutating func payloadDestination(_ events: inout EventRecords) -> UnsafeMutableRawBufferPointer? {
        guard outcome == .open, readsIntoMessage || remaining >= thresholds.readIntoMessage, let frame,
            !frame.opcode.isControl,
            !messageCompressed
        else { return nil }
        do { try reserve(min(remaining, thresholds.readIntoMessage), expecting: remaining, &events) } catch {
            outcome = .failed(error)
            return nil
        }
        return UnsafeMutableRawBufferPointer(rebasing: message.writableBytes.prefix(remaining))
    }

    /// Takes the first `count` bytes of what `payloadDestination` returned.
    public mutating func didReadPayload(_ count: Int, into events: inout EventRecords) -> Outcome {
        guard let header = frame else { return outcome }
        let chunk = UnsafeMutableRawBufferPointer(rebasing: message.writableBytes.prefix(count))
        if let mask = header.mask {
            mask.advanced(by: header.length - remaining).apply(chunk.baseAddress!, chunk.baseAddress!, count)
        }
        message.didWrite(count)
        remaining -= count
        readsIntoMessage = remaining > 0
        let finishes = remaining == 0 && header.fin
        do throws(ProtocolFailure) {
            try check(UnsafeRawBufferPointer(chunk), finishes: finishes)
            guard remaining == 0 else { return outcome }
            frame = nil
            if finishes { try finish(&events) } else { try fragment(&events) }
        } catch {
            outcome = .failed(error)
        }
        return outcome
    }
}
