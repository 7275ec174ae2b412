// Collects a frame header whose bytes arrive in more than one read. Owned by MessageReader.

struct HeaderAssembler {
    private var bytes: (UInt64, UInt64) = (0, 0)
    /// Bytes of the header so far.
    private(set) var count = 0

    /// Appends bytes from `p` on, up to the end of the header, and moves `p` after them. Returns the header once it
    /// is whole.
    mutating func append(_ p: inout UnsafeMutableRawPointer, _ end: UnsafeMutableRawPointer) throws(ProtocolFailure)
        -> FrameHeader?
    {
        let header = try withUnsafeMutableBytes(of: &bytes) { (storage) throws(ProtocolFailure) -> FrameHeader? in
            while p < end {
                storage[count] = p.load(as: UInt8.self)
                count += 1
                p += 1
                if count >= 2, count == FrameHeader.size(secondByte: storage[1]) {
                    return try FrameHeader(reading: storage.baseAddress!)
                }
            }
            return nil
        }
        if header != nil { count = 0 }
        return header
    }
}
