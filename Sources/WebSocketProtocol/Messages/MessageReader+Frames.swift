// Frames of the peer (RFC 6455 sections 5.1 to 5.5): the rules that depend on the connection and on the frames
// before, and control frames. The rules for one header alone are in FrameHeader.

import CEvents

extension MessageReader {
    mutating func beginFrame(_ header: FrameHeader, _ records: inout EventRecords) throws(ProtocolFailure) {
        if debug { records.append(line: "received \(header.description)", socket: socket) }
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
        if !header.opcode.isControl { try beginDataFrame(header) }
        frame = IncomingFrame(header)
    }

    @inline(__always)
    private mutating func beginDataFrame(_ header: FrameHeader) throws(ProtocolFailure) {
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
            messageIsCompressed = header.rsv1
        }
        // Subtract instead of add: a length may be anything up to 2^63 - 1.
        if !messageIsCompressed, header.length > maximumMessageSize - message.count { throw tooBig }
    }

    /// Handles the next bytes of the frame's payload. Returns how many at the end were not consumed.
    mutating func receivePayload(
        _ chunk: UnsafeMutableRawBufferPointer, _ records: inout EventRecords
    ) throws(ProtocolFailure) -> Int {
        guard var current = frame else { return 0 }
        current.applyMask(chunk)
        current.remaining -= chunk.count
        let isWhole = current.remaining == 0
        frame = isWhole ? nil : current
        if current.header.opcode.isControl {
            control.append(UnsafeRawBufferPointer(chunk))
            if isWhole { try finishControlFrame(current.header.opcode, &records) }
            return 0
        }
        let left = try receiveData(
            UnsafeRawBufferPointer(chunk), finishes: isWhole && current.header.fin, remaining: current.remaining,
            &records)
        if left > 0 {
            // These bytes come again, so they must be masked again.
            current.remaining += left
            current.applyMask(UnsafeMutableRawBufferPointer(rebasing: chunk.suffix(left)))
            frame = current
        } else if isWhole, !current.header.fin {
            try appendFragmentRecord(&records)
        }
        return left
    }

    private mutating func finishControlFrame(
        _ opcode: Opcode, _ records: inout EventRecords
    ) throws(ProtocolFailure) {
        let body = UnsafeRawBufferPointer(control.bytes)
        defer { control.removeAll(keepingAtMost: 0) }
        switch opcode {
        case .ping:
            pongs.enqueue(body)
            guard records.append(type: WS_EVENT_PING, socket: socket, body) else { throw outOfMemory(body.count) }
        case .pong:
            if let keepaliveKey, body.count == 8, body.loadUnaligned(as: UInt32.self) == keepaliveKey {
                if keepalivePong == nil { keepalivePong = body.loadUnaligned(as: UInt64.self) }
                return
            }
            guard records.append(type: WS_EVENT_PONG, socket: socket, body) else { throw outOfMemory(body.count) }
        case .close:
            outcome = .closed(try CloseFrame(body: body))
        case .continuation, .text, .binary: break
        }
    }
}
