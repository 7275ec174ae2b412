// The fast path of MessageReader: messages that are one frame, not compressed, and whole in the input are copied from there
// into records, without a state in between. Nearly all small messages are.

import CEvents

extension MessageReader {
    /// Returns the first byte of anything else.
    @inline(__always)
    mutating func readWholeMessages(
        _ start: UnsafeMutableRawPointer, _ end: UnsafeMutableRawPointer, _ records: inout EventRecords
    ) throws(ProtocolFailure) -> UnsafeMutableRawPointer {
        guard messageOpcode == nil, headerAssembler.count == 0, !debug else { return start }
        return role == .client
            ? try readWholeFrames(start, end, masked: false, &records)
            : try readWholeFrames(start, end, masked: true, &records)
    }

    /// - Parameter masked: constant, so that each role has code of its own. Frames of a client are unmasked in place.
    @inline(__always)
    private mutating func readWholeFrames(
        _ start: UnsafeMutableRawPointer, _ end: UnsafeMutableRawPointer, masked: Bool, _ records: inout EventRecords
    ) throws(ProtocolFailure) -> UnsafeMutableRawPointer {
        let maskBit: UInt8 = masked ? 0x80 : 0
        var p = start
        while end - p >= (masked ? 8 : 4) {
            let isText = p.load(as: UInt8.self) == 0x81
            guard isText || p.load(as: UInt8.self) == 0x82 else { break }
            // The rules for a wrong mask bit are in `beginFrame`.
            var length = Int(p.load(fromByteOffset: 1, as: UInt8.self) ^ maskBit)
            var payload = p + 2
            if length > 125 {
                guard length == 126 else { break }
                length = Int(UInt16(bigEndian: p.loadUnaligned(fromByteOffset: 2, as: UInt16.self)))
                // A length that is not in its shortest form is left to FrameHeader, which rejects it.
                guard length > 125 else { break }
                payload += 2
            }
            let key = payload
            if masked { payload += 4 }
            guard length <= end - payload, length <= maximumMessageSize else { break }
            if masked {
                Mask(key: UInt32(littleEndian: key.loadUnaligned(as: UInt32.self))).apply(payload, payload, length)
            }
            let message = UnsafeRawBufferPointer(start: payload, count: length)
            if isText { guard UTF8Validator.isText(message) else { throw notUTF8 } }
            guard records.append(type: isText ? WS_EVENT_TEXT : WS_EVENT_BINARY, socket: socket, message) else {
                throw outOfMemory(length)
            }
            p = payload + length
        }
        return p
    }
}
