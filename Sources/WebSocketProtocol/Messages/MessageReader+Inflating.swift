// Compressed messages of an open connection (RFC 7692 section 7.2.2): inflated where they stay, or into the message that
// is being put together.

extension MessageReader {
    /// Where a compressed message stands after a piece of it.
    enum Inflated {
        /// In `message`, as far as it has come.
        case inMessage
        /// It is complete, and in the log.
        case inRecord
        /// This many bytes of the piece are to be given again, after the events were delivered.
        case paused(unconsumed: Int)
    }

    /// Inflates the next piece of a message.
    mutating func inflate(
        _ chunk: UnsafeRawBufferPointer, finishes: Bool, _ events: inout EventRecords
    ) throws(ProtocolFailure) -> Inflated {
        if finishes, message.isEmpty {
            guard let start = events.beginRecord() else { throw outOfMemory }
            do throws(ProtocolFailure) { return try inflate(chunk, recordFrom: start, &events) } catch {
                events.discardRecord(start)
                throw error
            }
        }
        return try inflate(chunk, finishes: finishes)
    }

    private mutating func inflate(
        _ chunk: UnsafeRawBufferPointer, finishes: Bool
    ) throws(ProtocolFailure) -> Inflated {
        let before = message.count
        let result = inflater!.inflate(
            chunk, finishes: finishes, into: &message, limit: maximumMessageSize - before,
            pause: thresholds.inflatedPerCall)
        let inflated = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(message.bytes)[before...])
        try verify(result, inflated, finishes: finishes)
        return result == .paused ? .paused(unconsumed: inflater?.remainingInput ?? 0) : .inMessage
    }

    /// A message in one piece, inflated where it stays unless it turns out to be large.
    private mutating func inflate(
        _ chunk: UnsafeRawBufferPointer, recordFrom start: Int, _ events: inout EventRecords
    ) throws(ProtocolFailure) -> Inflated {
        let limit = min(maximumMessageSize, thresholds.inflateIntoRecord)
        let result = inflater!.inflate(chunk, finishes: true, into: &events.buffer, limit: limit)
        let inflated = events.payload(from: start)
        if result == .tooBig, limit < maximumMessageSize {
            try verify(.done, inflated, finishes: false)
            guard message.append(inflated) else { throw outOfMemory }
            events.discardRecord(start)
            return try inflate(
                UnsafeRawBufferPointer(rebasing: chunk.suffix(inflater?.remainingInput ?? 0)), finishes: true)
        }
        try verify(result, inflated, finishes: true)
        guard events.commitRecord(start, type: messageType, socket: socket) else { throw outOfMemory }
        messageOpcode = nil
        return .inRecord
    }

    private mutating func verify(
        _ result: Inflater.Result, _ inflated: UnsafeRawBufferPointer, finishes: Bool
    ) throws(ProtocolFailure) {
        // What came out before an error is looked at first: the verdict is the same for any cut of the input.
        try check(inflated, finishes: finishes && result == .done)
        switch result {
        case .done, .paused: break
        case .tooBig: throw tooBig
        case .invalid:
            throw ProtocolFailure(.invalidData, "a compressed message does not inflate (RFC 7692 7.2.2)")
        case .outOfMemory: throw outOfMemory
        }
    }

    private var outOfMemory: ProtocolFailure {
        ProtocolFailure(.internalError, "out of memory for inflating a message")
    }
}
