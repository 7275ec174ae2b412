// One connection of the echo server: answers the handshake, then echoes each message. Owns the socket's descriptor.
// Used on the main thread only, by Server.

import CEvents
import CLinux
import Glibc
import WebSocketProtocol

final class Client {
    let number: Int32
    private var parser = HTTPHeadParser(beginning: "")
    private var connection: MessageReader?
    private var deflater: Deflater?
    private var output = ByteBuffer()
    private var log = EventRecords()
    /// The rest of `output` is written, then the connection ends.
    private var isClosing = false
    private(set) var isOver = false

    private static let maximumMessageSize = 64 << 20

    init(_ number: Int32) {
        self.number = number
        var on: Int32 = 1
        setsockopt(number, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    }

    deinit { close(number) }

    /// While echoes wait in `output`, nothing is read: a client that does not read can't fill the memory.
    var wantsWrite: Bool { !output.isEmpty }

    func ready() {
        if wantsWrite { return write() }
        withUnsafeTemporaryAllocation(byteCount: 64 << 10, alignment: 16) { buffer in
            let count = recv(number, buffer.baseAddress, buffer.count, 0)
            guard count > 0 else {
                isOver = count == 0 || errno != EAGAIN
                return
            }
            take(UnsafeMutableRawBufferPointer(rebasing: buffer[..<count]))
        }
        write()
    }

    private func take(_ input: UnsafeMutableRawBufferPointer) {
        guard connection == nil else { return receive(input) }
        guard let parsed = try? parser.parse(UnsafeRawBufferPointer(input)) else { return }
        let (response, agreement) = ServerHandshake.answer(parsed.head)
        output.append(response)
        guard let agreement else {
            isClosing = true
            return
        }
        connection = MessageReader(
            role: .server, maximumMessageSize: Self.maximumMessageSize, inflating: agreement.deflate?.client)
        deflater = agreement.deflate.flatMap { Deflater($0.server, level: -1) }
        receive(UnsafeMutableRawBufferPointer(rebasing: input[parsed.consumed...]))
    }

    private func receive(_ input: UnsafeMutableRawBufferPointer) {
        guard !isClosing, let outcome = connection?.receive(input, into: &log) else { return }
        let unread = input.suffix(connection?.unread ?? 0)
        defer { if !unread.isEmpty { receive(UnsafeMutableRawBufferPointer(rebasing: unread)) } }
        echo()
        while let payload = connection?.nextPong() { _ = FrameEncoder.append(.pong, payload, mask: nil, to: &output) }
        switch outcome {
        case .open: break
        case .closed(let frame): finish(frame)
        case .failed(let failure): finish(CloseFrame(code: failure.code))
        }
    }

    private func finish(_ frame: CloseFrame) {
        _ = FrameEncoder.append(frame, mask: nil, to: &output)
        isClosing = true
    }

    /// Encodes an echo of each message in `log` into `output`.
    private func echo() {
        guard var p = log.bytes.baseAddress else { return }
        let end = p + log.bytes.count
        while p < end {
            let event = p.assumingMemoryBound(to: ws_event.self)
            let type = Int(event.pointee.type)
            if type == WS_EVENT_TEXT || type == WS_EVENT_BINARY {
                let isLent = Int(event.pointee.flags) & WS_EVENT_LENT != 0
                let payload = p + MemoryLayout<ws_event>.size
                let bytes = isLent ? UnsafeRawPointer(payload.load(as: ws_block.self).bytes) : UnsafeRawPointer(payload)
                let message = UnsafeRawBufferPointer(start: bytes, count: Int(event.pointee.length))
                var deflated = ByteBuffer()
                let compresses = deflater?.deflate(message, to: &deflated) ?? false
                _ = FrameEncoder.append(
                    type == WS_EVENT_TEXT ? .text : .binary, compressed: compresses,
                    compresses ? UnsafeRawBufferPointer(deflated.bytes) : message, mask: nil, to: &output)
            }
            p += ws_event_size(event)
        }
        log.removeAll()
    }

    private func write() {
        while !output.isEmpty {
            let count = send(number, output.bytes.baseAddress, output.count, 0)
            guard count > 0 else {
                isOver = errno != EAGAIN
                return
            }
            output.consume(count)
        }
        isOver = isOver || isClosing
    }
}
