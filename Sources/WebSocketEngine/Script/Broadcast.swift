// One message for many websockets: framed once, and compressed once for those whose messages are compressed on their own with
// the same window (RFC 7692 section 7.1.1). Used on Lua's thread during one call.

public import WebSocketProtocol

public struct Broadcast: ~Copyable {
    private let opcode: Opcode
    private let message: UnsafeRawBufferPointer
    /// The frame without compression.
    private var plain = ByteBuffer()
    /// Compressed frames, by window bits and level.
    private var compressed: [Setting: Frame] = [:]

    private struct Setting: Hashable {
        let windowBits: Int
        let level: Int
    }

    private final class Frame {
        var bytes = ByteBuffer()
    }

    /// - Parameter message: valid as long as this value.
    /// - Throws: why nobody may get it.
    public init(_ opcode: Opcode, _ message: UnsafeRawBufferPointer) throws(SendFailure) {
        guard opcode != .text || UTF8Validator.isText(message) else { throw SendFailure("the text is not UTF-8") }
        guard FrameEncoder.append(opcode, message, mask: nil, to: &plain) else {
            throw SendFailure("out of memory for \(message.count) bytes")
        }
        self.opcode = opcode
        self.message = message
    }

    /// Queues or writes the message. False if the websocket is not open, or has too much to send already.
    /// - Parameter directly: as for `WebSocket.send`.
    public mutating func send(to websocket: WebSocket, random: inout RandomPool, directly: Bool) -> Bool {
        // A client masks each frame with a key of its own.
        guard websocket.role == .server else {
            let result = withUnsafePointer(to: message) {
                websocket.send(
                    opcode, UnsafeBufferPointer(start: $0, count: 1), random: &random, directly: directly)
            }
            if case .sent = result { return true }
            return false
        }
        guard let frame = compressedFrame(for: websocket) else {
            return websocket.send(frame: UnsafeRawBufferPointer(plain.bytes), directly: directly)
        }
        return websocket.send(frame: UnsafeRawBufferPointer(frame.bytes.bytes), directly: directly)
    }

    /// nil if the websocket takes the plain one, which it may compress itself.
    private mutating func compressedFrame(for websocket: WebSocket) -> Frame? {
        guard let options = websocket.options.deflate, message.count >= max(options.threshold, 1),
            let direction = websocket.sendQueue.withLock({ $0.independentDeflate })
        else { return nil }
        let setting = Setting(windowBits: direction.windowBits, level: options.level)
        if let frame = compressed[setting] { return frame }
        guard var deflater = Deflater(direction, level: options.level) else { return nil }
        var output = ByteBuffer()
        let frame = Frame()
        guard deflater.deflate(message, to: &output),
            FrameEncoder.append(
                opcode, compressed: true, UnsafeRawBufferPointer(output.bytes), mask: nil, to: &frame.bytes)
        else { return nil }
        compressed[setting] = frame
        return frame
    }
}

/// Why a message can't be sent, in words.
public struct SendFailure: Error, Equatable, Sendable {
    public let reason: String

    init(_ reason: String) { self.reason = reason }
}
