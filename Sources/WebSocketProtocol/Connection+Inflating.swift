// Compressed messages of an open connection (RFC 7692 section 7.2.2): inflated where they stay, or into the message that
// is being put together.

extension Connection {
    /// A compressed message in one piece is inflated into the log if it has at most so many bytes.
    private static let inflatedInLog = 128 << 10

    /// True when the message is in `message`, false when it went into the log.
    mutating func inflate(
        _ chunk: UnsafeRawBufferPointer, finishes: Bool, _ events: inout EventLog
    ) throws(ProtocolFailure) -> Bool {
        if finishes, message.isEmpty {
            guard let start = events.begin() else { throw outOfMemory }
            do throws(ProtocolFailure) { return try inflate(chunk, recordFrom: start, &events) } catch {
                events.drop(start)
                throw error
            }
        }
        try inflate(chunk, finishes: finishes)
        return true
    }

    private mutating func inflate(_ chunk: UnsafeRawBufferPointer, finishes: Bool) throws(ProtocolFailure) {
        let before = message.count
        let result = inflater!.inflate(chunk, finishes: finishes, into: &message, limit: maximumMessageSize - before)
        let inflated = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(message.bytes)[before...])
        try verify(result, inflated, finishes: finishes)
    }

    /// A message in one piece, inflated where it stays unless it turns out to be large.
    private mutating func inflate(
        _ chunk: UnsafeRawBufferPointer, recordFrom start: Int, _ events: inout EventLog
    ) throws(ProtocolFailure) -> Bool {
        let limit = min(maximumMessageSize, Self.inflatedInLog)
        let result = inflater!.inflate(chunk, finishes: true, into: &events.records, limit: limit)
        let inflated = events.payload(from: start)
        if result == .tooBig, limit < maximumMessageSize {
            try verify(.done, inflated, finishes: false)
            guard message.append(inflated) else { throw outOfMemory }
            events.drop(start)
            try inflate(UnsafeRawBufferPointer(rebasing: chunk.suffix(inflater?.unread ?? 0)), finishes: true)
            return true
        }
        try verify(result, inflated, finishes: true)
        guard events.end(start, type: messageType, socket: socket, epoch: epoch) else { throw outOfMemory }
        messageOpcode = nil
        return false
    }

    private mutating func verify(
        _ result: Inflater.Result, _ inflated: UnsafeRawBufferPointer, finishes: Bool
    ) throws(ProtocolFailure) {
        // What came out before an error is looked at first: the verdict is the same for any cut of the input.
        try check(inflated, finishes: finishes && result == .done)
        switch result {
        case .done: break
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
