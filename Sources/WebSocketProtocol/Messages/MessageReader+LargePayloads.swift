// Large payloads that are not compressed: the owner reads from the socket straight into the message, past its read
// buffer, so that the bytes are copied once less.

extension MessageReader {
    /// Memory for the next bytes of a large frame's payload; nil when the next bytes must go to `receive`. Valid
    /// until the next mutation.
    public mutating func payloadDestination(_ records: inout EventRecords) -> UnsafeMutableRawBufferPointer? {
        guard outcome == .open, let frame, !frame.header.opcode.isControl, !messageIsCompressed,
            frame.readsIntoMessage || frame.remaining >= thresholds.readIntoMessage
        else { return nil }
        do throws(ProtocolFailure) {
            try reserve(min(frame.remaining, thresholds.readIntoMessage), expecting: frame.remaining, &records)
        } catch {
            outcome = .failed(error)
            return nil
        }
        return UnsafeMutableRawBufferPointer(rebasing: message.writableBytes.prefix(frame.remaining))
    }

    /// Handles `count` bytes that were read to the start of `payloadDestination`.
    public mutating func didReadPayload(_ count: Int, into records: inout EventRecords) -> Outcome {
        guard var current = frame else { return outcome }
        let chunk = UnsafeMutableRawBufferPointer(rebasing: message.writableBytes.prefix(count))
        current.applyMask(chunk)
        message.didWrite(count)
        current.remaining -= count
        current.readsIntoMessage = true
        let isWhole = current.remaining == 0
        let finishes = isWhole && current.header.fin
        frame = isWhole ? nil : current
        do throws(ProtocolFailure) {
            try validate(UnsafeRawBufferPointer(chunk), finishes: finishes)
            if finishes { try finishMessage(&records) } else if isWhole { try appendFragmentRecord(&records) }
        } catch {
            outcome = .failed(error)
        }
        return outcome
    }
}
