// One connection of the echo server: answers the handshake, then echoes each message. Owns the socket's descriptor.
// Used on the main thread only, by Server.

import CEvents
import CLinux
import Glibc
import WebSocketProtocol

final class Client {
    let number: Int32
    private var reader = HTTPRequestReader()
    private var connection: MessageReader?
    private var deflater: Deflater?
    private var output = ByteBuffer()
    private var records = EventRecords()
    /// The rest of `output` is written, then the connection ends.
    private var isClosing = false
    private(set) var isOver = false

    private static let handshake = ServerHandshake(origins: .any, deflate: DeflateParameters())
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
        do throws(RequestRefusal) {
            guard let (request, consumed) = try reader.read(UnsafeRawBufferPointer(input)) else { return }
            switch try answer(request) {
            case .open(let head, let agreement):
                output.append(head.text)
                open(agreement)
                receive(UnsafeMutableRawBufferPointer(rebasing: input[consumed...]))
            case .response(let response): finish(response, to: request)
            }
        } catch {
            finish(error.response, to: nil)
        }
    }

    private func answer(_ request: HTTPRequest) throws(RequestRefusal) -> ServerHandshake.Answer {
        let demand = try Self.handshake.examine(request)
        do throws(AnswerFailure) { return try Self.handshake.answer(demand, .proceed) } catch { throw .noAnswer }
    }

    private func open(_ agreement: ServerHandshake.Agreement) {
        connection = MessageReader(
            role: .server, maximumMessageSize: Self.maximumMessageSize, inflating: agreement.deflate?.client)
        deflater = agreement.deflate.flatMap { Deflater($0.server, level: -1) }
    }

    private func finish(_ response: HTTPResponse, to request: HTTPRequest?) {
        _ = response.append(to: &output, method: request?.method)
        isClosing = true
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
