// Compressed messages of the peer (RFC 7692 section 7.2.2): inflated straight into a record when the message is
// small, or into `message`.

extension MessageReader {
    /// The result of inflating a piece of a message.
    enum Inflated {
        /// It is in `message`.
        case inMessage
        /// It was the whole message, and its record is appended.
        case inRecord
        /// Inflating has paused: this many bytes at the end of the piece come again.
        case paused(unconsumed: Int)
    }

    /// Inflates the next piece of a message.
    mutating func inflate(
        _ chunk: UnsafeRawBufferPointer, finishes: Bool, _ records: inout EventRecords
    ) throws(ProtocolFailure) -> Inflated {
        guard finishes, message.isEmpty else { return try inflate(chunk, finishes: finishes) }
        guard let start = records.beginRecord() else { throw outOfMemoryInflating }
        do throws(ProtocolFailure) { return try inflate(chunk, recordFrom: start, &records) } catch {
            records.discardRecord(start)
            throw error
        }
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

    /// Inflates a whole message into the record that begins at `start`. If it turns out to be large, it moves to
    /// `message`.
    private mutating func inflate(
        _ chunk: UnsafeRawBufferPointer, recordFrom start: Int, _ records: inout EventRecords
    ) throws(ProtocolFailure) -> Inflated {
        let limit = min(maximumMessageSize, thresholds.inflateIntoRecord)
        let result = inflater!.inflate(chunk, finishes: true, into: &records.buffer, limit: limit)
        let inflated = records.payload(from: start)
        if result == .tooBig, limit < maximumMessageSize {
            try verify(.done, inflated, finishes: false)
            guard message.append(inflated) else { throw outOfMemoryInflating }
            records.discardRecord(start)
            let rest = UnsafeRawBufferPointer(rebasing: chunk.suffix(inflater?.remainingInput ?? 0))
            return try inflate(rest, finishes: true)
        }
        try verify(result, inflated, finishes: true)
        guard records.commitRecord(start, type: messageType, socket: socket) else { throw outOfMemoryInflating }
        messageOpcode = nil
        return .inRecord
    }

    private mutating func verify(
        _ result: Inflater.Result, _ inflated: UnsafeRawBufferPointer, finishes: Bool
    ) throws(ProtocolFailure) {
        // The bytes before an error are validated first, so that every cut of the input fails with the same code.
        try validate(inflated, finishes: finishes && result == .done)
        switch result {
        case .done, .paused: break
        case .tooBig: throw tooBig
        case .invalid:
            throw ProtocolFailure(.invalidData, "a compressed message does not inflate (RFC 7692 7.2.2)")
        case .outOfMemory: throw outOfMemoryInflating
        }
    }

    private var outOfMemoryInflating: ProtocolFailure {
        ProtocolFailure(.internalError, "out of memory for inflating a message")
    }
}
