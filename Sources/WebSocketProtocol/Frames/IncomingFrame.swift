// The frame whose payload MessageReader is reading: its header and position. Pure, on the loop thread.

struct IncomingFrame {
    let header: FrameHeader
    /// Bytes of the payload that have not arrived.
    var remaining: Int
    /// Whether the last bytes were read straight into the message. The rest is, too, however little it is.
    var readsIntoMessage = false

    init(_ header: FrameHeader) {
        self.header = header
        remaining = header.length
    }

    /// XORs bytes at the current position of the payload with the frame's mask, if it has one. A second time undoes it.
    func applyMask(_ bytes: UnsafeMutableRawBufferPointer) {
        guard let mask = header.mask, let p = bytes.baseAddress else { return }
        mask.advanced(by: header.length - remaining).apply(p, p, bytes.count)
    }
}
