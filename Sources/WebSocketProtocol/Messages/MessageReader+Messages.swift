// Messages of the peer (RFC 6455 sections 5.4, 5.6 and 8.1): put together from their frames, checked, and appended as
// records.

import CEvents

extension MessageReader {
    /// Handles the next bytes of a data frame, unmasked. Returns how many at the end were not consumed.
    /// - Parameters:
    ///   - finishes: whether these bytes end the message.
    ///   - remaining: bytes of the frame that come after these.
    mutating func receiveData(
        _ chunk: UnsafeRawBufferPointer, finishes: Bool, remaining: Int, _ records: inout EventRecords
    ) throws(ProtocolFailure) -> Int {
        if messageIsCompressed {
            switch try inflate(chunk, finishes: finishes, &records) {
            case .inMessage: break
            case .inRecord: return 0
            case .paused(let unconsumed): return unconsumed
            }
        } else if finishes, message.isEmpty {
            // The whole message is in the input: it is copied once, into its record.
            try validate(chunk, finishes: true)
            let type = messageType
            messageOpcode = nil
            guard records.append(type: type, socket: socket, chunk) else { throw outOfMemory(chunk.count) }
            return 0
        } else {
            try validate(chunk, finishes: finishes)
            try reserve(chunk.count, expecting: chunk.count + remaining, &records)
            message.append(chunk)
        }
        if finishes { try finishMessage(&records) }
        return 0
    }

    mutating func finishMessage(_ records: inout EventRecords) throws(ProtocolFailure) {
        let type = messageType
        messageOpcode = nil
        let count = message.count
        guard records.append(type: type, socket: socket, moving: &message, detachedFrom: thresholds.detach) else {
            throw outOfMemory(count)
        }
    }

    /// Reports how many bytes of the message have arrived, at the end of a frame that does not end the message.
    func appendFragmentRecord(_ records: inout EventRecords) throws(ProtocolFailure) {
        let isAppended = withUnsafeBytes(of: UInt64(message.count)) {
            records.append(type: WS_EVENT_FRAGMENT, socket: socket, $0)
        }
        guard isAppended else { throw outOfMemory(message.count) }
    }

    /// Reserves memory in `message` for `count` more bytes. At the start of a message it reserves memory for the whole
    /// first frame of `total` bytes, but no more than `thresholds.reservation`.
    mutating func reserve(
        _ count: Int, expecting total: Int, _ records: inout EventRecords
    ) throws(ProtocolFailure) {
        var wanted = count
        if message.capacity == 0 {
            wanted = max(count, min(total, thresholds.reservation))
            if wanted >= thresholds.detach, let buffer = records.pool.take(atLeast: wanted) { message = buffer }
        }
        guard message.reserve(wanted) else { throw outOfMemory(message.count) }
    }

    /// Text must be UTF-8: the connection fails at the first byte that can't be (section 8.1).
    mutating func validate(_ chunk: UnsafeRawBufferPointer, finishes: Bool) throws(ProtocolFailure) {
        guard messageOpcode == .text else { return }
        guard utf8.validate(chunk), !finishes || utf8.isComplete else { throw notUTF8 }
    }

    /// The record type of the message.
    var messageType: Int { messageOpcode == .text ? WS_EVENT_TEXT : WS_EVENT_BINARY }

    // MARK: - Failures

    var notUTF8: ProtocolFailure {
        ProtocolFailure(.invalidData, "a text message is not UTF-8 (RFC 6455 8.1)")
    }

    var tooBig: ProtocolFailure {
        ProtocolFailure(
            .tooBig,
            "a message is larger than \(maximumMessageSize) bytes; raise the option maxmessagesize to receive it")
    }

    func outOfMemory(_ count: Int) -> ProtocolFailure {
        ProtocolFailure(.internalError, "out of memory for a message of \(count) bytes or more")
    }
}
