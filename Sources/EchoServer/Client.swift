// One connection of the echo server: answers the handshake, then echoes each message. Owns the socket's descriptor.
// Used on the main thread only, by Server.

import CEvents
import CLinux
import Glibc
import WebSocketProtocol

final class Client {
    let number: Int32
    private var parser = HTTPHeadParser(prefix: "")
    private var connection: MessageReader?
    private var deflater: Deflater?
    private var output = ByteBuffer()
    private var records = EventRecords()
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
        guard !isClosing, let outcome = connection?.receive(input, into: &records) else { return }
        let rest = input.suffix(connection?.unconsumed ?? 0)
        defer { if !rest.isEmpty { receive(UnsafeMutableRawBufferPointer(rebasing: rest)) } }
        echo()
        while let payload = connection?.dequeuePong() {
            _ = FrameEncoder.append(.pong, payload, mask: nil, to: &output)
        }
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

    /// Encodes an echo of each message in `records` into `output`.
    private func echo() {
        for record in records.elements where record.type == WS_EVENT_TEXT || record.type == WS_EVENT_BINARY {
            var deflated = ByteBuffer()
            let compresses = deflater?.deflate(record.payload, to: &deflated) ?? false
            _ = FrameEncoder.append(
                record.type == WS_EVENT_TEXT ? .text : .binary, compressed: compresses,
                compresses ? UnsafeRawBufferPointer(deflated.bytes) : record.payload, mask: nil, to: &output)
        }
        records.removeAll()
    }

    private func write() {
        while !output.isEmpty {
            let count = send(number, output.bytes.baseAddress, output.count, 0)
            guard count > 0 else {
                isOver = errno != EAGAIN
                return
            }
            output.didRead(count)
        }
        isOver = isOver || isClosing
    }
}
