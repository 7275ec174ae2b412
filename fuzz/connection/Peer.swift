// The other side of a run, a server or a client: it sends frames in any cut, and checks the frames of the connection. It parses frames
// itself; only for inflating it uses the library.

import CEvents
import CLinux
import Glibc
@testable import WebSocketEngine
@testable import WebSocketProtocol

/// The event that a frame of the peer must become.
struct Event: Equatable {
    var type: Int
    /// nil when the payload can't be predicted: bytes inflated at the end of a compressed fragment.
    var payload: [UInt8]?
}

final class Peer {
    private(set) var descriptor: Int32
    private var deflater: Deflater?
    private var inflatingReader: MessageReader
    private var decoded = EventRecords()
    let key: UInt32
    private let role: Role

    // Sending.
    private var output: [UInt8] = []
    /// Bytes of `output` that the socket has taken.
    private(set) var written = 0
    /// The events of its frames, and the offset in `output` after each frame.
    private(set) var events: [(event: Event, end: Int)] = []
    private(set) var close: CloseFrame?
    /// A broken rule: the kind of the ERROR that must follow, and the code of the connection's Close.
    private(set) var violation: (kind: String, code: CloseCode)?
    /// Offset in `output` after the Close or the violation.
    private(set) var endOffset = 0
    private var pings: [[UInt8]] = []
    /// Whether it has shut down its side or closed the socket.
    private(set) var hasEnded = false
    /// Payloads of keepalive pings that it has not latestPong.
    private var unansweredPings: [[UInt8]] = []

    // Receiving.
    private var input: [UInt8] = []
    private(set) var bytesRead = 0
    private(set) var received: [Message] = []
    /// Number of the last ping that was latestPong.
    private(set) var latestPong = -1
    private(set) var closeReceived: CloseFrame?

    init(_ descriptor: Int32, _ role: Role, _ agreement: DeflateParameters?, key: UInt32) {
        self.descriptor = descriptor
        self.role = role
        self.key = key
        deflater = agreement.flatMap { Deflater(role.outgoing($0), level: 1) }
        inflatingReader = MessageReader(
            role: role, maximumMessageSize: 1 << 30, inflating: agreement.map(role.incoming))
    }

    deinit { if descriptor >= 0 { Glibc.close(descriptor) } }

    var isClosed: Bool { descriptor < 0 }
    /// Whether it sends nothing new. Parts of `output` may still be unwritten.
    var isDone: Bool { close != nil || violation != nil || hasEnded }
    var hasPending: Bool { written < output.count && !hasEnded }
    var hasWrittenEnd: Bool { (close != nil || violation != nil) && written >= endOffset }
    /// Bytes that it wrote and the connection has not read.
    var unread: Int {
        var count: Int32 = 0
        if !isClosed { _ = ioctl(descriptor, UInt(TIOCOUTQ), &count) }
        return Int(count)
    }
    var latestPing: Int { pings.count - 1 }
    /// Events of the frames that are completely written.
    var writtenEvents: Int { events.lastIndex { $0.end <= written }.map { $0 + 1 } ?? 0 }

    // MARK: - Frames

    private func append(_ first: UInt8, _ payload: ArraySlice<UInt8>, _ event: Event?) {
        output.append(first)
        let maskBit: UInt8 = role.masks ? 0x80 : 0
        switch payload.count {
        case ..<126: output.append(maskBit | UInt8(payload.count))
        case ..<65536: output += [maskBit | 126, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
        default:
            output.append(maskBit | 127)
            for shift in stride(from: 56, through: 0, by: -8) { output.append(UInt8(payload.count >> shift & 0xFF)) }
        }
        if role.masks {
            let start = output.count
            output += mask
            for (index, byte) in payload.enumerated() { output.append(byte ^ output[start + index & 3]) }
        } else {
            output += payload
        }
        if let event { events.append((event, output.count)) }
    }

    /// Another key for each frame.
    private var mask: [UInt8] {
        withUnsafeBytes(of: UInt32(truncatingIfNeeded: output.count &* 0x9E37_79B1)) { Array($0) }
    }

    /// Queues a message, in one frame or in fragments.
    func send(_ message: Message, compressed: Bool, fragments: Int, pingBetween: Bool) {
        guard !isDone else { return }
        var payload = message.payload
        let isCompressed = compressed && deflater != nil
        if isCompressed {
            var output = ByteBuffer()
            require(message.payload.withUnsafeBytes { deflater!.deflate($0, to: &output) })
            payload = Array(output.bytes)
        }
        let size = payload.count / fragments
        for fragment in 0..<fragments {
            let isLast = fragment == fragments - 1
            let end = isLast ? payload.count : (fragment + 1) * size
            let first = (isLast ? 0x80 : 0) | (fragment == 0 && isCompressed ? 0x40 : 0)
            let opcode = fragment == 0 ? message.opcode.rawValue : 0
            let event =
                isLast
                ? Event(type: message.opcode == .text ? WS_EVENT_TEXT : WS_EVENT_BINARY, payload: message.payload)
                : Event(type: WS_EVENT_FRAGMENT, payload: isCompressed ? nil : withUnsafeBytes(of: end) { Array($0) })
            append(UInt8(first) | opcode, payload[fragment * size..<end], event)
            if pingBetween, !isLast { ping(size: 3) }
        }
    }

    func ping(size: Int) {
        guard !isDone else { return }
        let number = "\(pings.count) ".utf8
        let payload = Array((number + [UInt8](repeating: UInt8(ascii: "p"), count: size)).prefix(125))
        pings.append(payload)
        append(0x89, payload[...], Event(type: WS_EVENT_PING, payload: payload))
    }

    func pong(_ payload: [UInt8]) {
        guard !isDone else { return }
        append(0x8A, payload[...], Event(type: WS_EVENT_PONG, payload: payload))
    }

    /// Answers the keepalive pings.
    func answerPings() {
        guard !isDone else { return }
        for payload in unansweredPings { append(0x8A, payload[...], nil) }
        unansweredPings = []
    }

    /// Sends a Close and `trailing` bytes after it, which the connection must ignore.
    func close(_ frame: CloseFrame, trailing: [UInt8]) {
        guard !isDone else { return }
        append(0x88, frame.body[...], nil)
        close = frame
        endOffset = output.count
        output += trailing
    }

    /// Sends a frame that only the other role may send: a client's without a mask, a server's with one.
    func violateMasking(trailing: [UInt8]) {
        guard !isDone else { return }
        let frame: [UInt8] = role.masks ? [0x81, 0] : [0x81, 0x80, 0, 0, 0, 0]
        violate(unmasked: false, frame, "protocol", .protocolError, trailing: trailing)
    }

    /// Sends `bytes`, the beginning of a frame without a mask, that break a rule, and `trailing` bytes, which the connection must ignore.
    func violate(
        unmasked: Bool = true, _ bytes: [UInt8], _ kind: String, _ code: CloseCode, trailing: [UInt8]
    ) {
        guard !isDone else { return }
        var bytes = bytes
        if unmasked, role.masks {
            let header = bytes[1] == 127 ? 10 : 2
            bytes[1] |= 0x80
            bytes.insert(contentsOf: [0, 0, 0, 0], at: min(header, bytes.count))
        }
        output += bytes
        violation = (kind, code)
        endOffset = output.count
        output += trailing
    }

    func answerClose() {
        if let closeReceived {
            close(closeReceived.code == .noStatus ? CloseFrame(code: .normal) : closeReceived, trailing: [])
        }
    }

    // MARK: - The socket

    /// Counts bytes as written that the connection gets without the socket: they came with the handshake's response.
    func writeEarly(_ count: Int) -> [UInt8] {
        written = min(count, output.count)
        return Array(output[..<written])
    }

    func write(atMost limit: Int) {
        guard !hasEnded else { return }
        while written < output.count, limit > 0 {
            let count = output.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress! + written, min(limit, $0.count - written), Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            written += count
            if limit < Int.max { return }
        }
    }

    func read(atMost limit: Int) {
        guard !isClosed, limit > 0 else { return }
        var buffer = [UInt8](repeating: 0, count: min(limit, 1 << 16))
        var left = limit
        while left > 0 {
            let count = recv(descriptor, &buffer, min(left, buffer.count), Int32(MSG_DONTWAIT))
            guard count > 0 else { return }
            require(closeReceived == nil, "bytes behind the Close")
            left -= count
            bytesRead += count
            input += buffer[..<count]
            readFrames()
        }
    }

    /// Ends its side of the socket, maybe in the middle of a frame.
    func end(closing: Bool) {
        guard !isClosed else { return }
        hasEnded = true
        if closing {
            Glibc.close(descriptor)
            descriptor = -1
        } else {
            shutdown(descriptor, Int32(SHUT_WR))
        }
    }

    // MARK: - Receiving

    private func readFrames() {
        var offset = 0
        while let (frame, end) = frame(at: offset) {
            require(closeReceived == nil, "a frame behind the Close")
            handle(frame, Array(input[offset..<end]))
            offset = end
        }
        input.removeFirst(offset)
        require(closeReceived == nil || input.isEmpty, "bytes behind the Close")
    }

    /// First byte and payload of the frame at `start`, and the offset after it; nil when the frame is not whole.
    private func frame(at start: Int) -> ((first: UInt8, payload: [UInt8]), end: Int)? {
        guard input.count - start >= 2 else { return nil }
        let isMasked = input[start + 1] & 0x80 != 0
        require(isMasked != role.masks, "a frame of the other role")
        var length = Int(input[start + 1] & 0x7F)
        let extended = length == 126 ? 2 : length == 127 ? 8 : 0
        let head = start + 2 + extended + (isMasked ? 4 : 0)
        guard input.count >= head else { return nil }
        if extended > 0 { length = input[start + 2..<start + 2 + extended].reduce(0) { $0 << 8 | Int($1) } }
        require(length >= 0 && length <= 1 << 20, "a frame is too long")
        guard input.count - head >= length else { return nil }
        var payload = Array(input[head..<head + length])
        for index in payload.indices where isMasked { payload[index] ^= input[head - 4 + index & 3] }
        return ((input[start], payload), head + length)
    }

    private func handle(_ frame: (first: UInt8, payload: [UInt8]), _ bytes: [UInt8]) {
        require(frame.first & 0xB0 == 0x80, "a frame is not whole, or has reserved bits")
        let opcode = Opcode(rawValue: frame.first & 0x0F)
        switch opcode {
        case .text, .binary: received.append(Message(opcode: opcode!, payload: message(frame, bytes)))
        case .ping
        where frame.payload.count == 8 && frame.payload.withUnsafeBytes { $0.load(as: UInt32.self) } == key:
            unansweredPings.append(frame.payload)
        case .ping: received.append(Message(opcode: .ping, payload: frame.payload))
        case .pong:
            guard let number = pings.firstIndex(of: frame.payload) else { fail("a pong for no ping") }
            require(number > latestPong, "a pong out of order, or twice")
            latestPong = number
        case .close:
            let body = frame.payload
            let code = body.count < 2 ? CloseCode.noStatus : CloseCode(rawValue: UInt16(body[0]) << 8 | UInt16(body[1]))
            closeReceived = CloseFrame(code: code, reason: String(decoding: body.dropFirst(2), as: UTF8.self))
        default: fail("an unknown opcode")
        }
    }

    private func message(_ frame: (first: UInt8, payload: [UInt8]), _ bytes: [UInt8]) -> [UInt8] {
        guard frame.first & 0x40 != 0 else { return frame.payload }
        var bytes = bytes
        bytes.withUnsafeMutableBytes { bytes in
            var rest = bytes
            repeat {
                require(inflatingReader.receive(rest, into: &decoded) == .open, "it does not inflate")
                rest = UnsafeMutableRawBufferPointer(rebasing: rest.suffix(inflatingReader.unconsumed))
            } while inflatingReader.unconsumed > 0
        }
        defer { decoded.removeAll() }
        require(decoded.count == 1)
        return decoded.elements.flatMap { Array($0.payload) }
    }
}
