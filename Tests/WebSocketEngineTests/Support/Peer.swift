// The other end of a connection: a server or a proxy, which the thread of the test uses between the turns of a TestLoop.
// Listener makes it.

import CLinux
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

final class Peer {
    let descriptor: Int32
    private(set) var received: [UInt8] = []
    /// Whether the connection was closed, or reset.
    private(set) var hasEnded = false

    init(_ descriptor: Int32) {
        self.descriptor = descriptor
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
    }

    deinit { Glibc.close(descriptor) }

    /// The client's address.
    var host: String? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getpeername(descriptor, $0, &length) == 0 ? Address($0, length).host : nil
            }
        }
    }

    func send(_ text: String) { send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) {
        #expect(Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
    }

    /// Reads what has come.
    func receive() {
        var part = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = recv(descriptor, &part, part.count, 0)
            if count > 0 { received += part[..<count] }
            if count == 0 || count < 0 && errno != EAGAIN { hasEnded = true }
            guard count > 0 else { return }
        }
    }

    /// Runs the loop until this many bytes have come, and takes them.
    func receive(_ count: Int, _ loop: TestLoop, sourceLocation: SourceLocation = #_sourceLocation) throws -> [UInt8] {
        try loop.run(
            until: {
                receive()
                return received.count >= count
            }, "bytes are missing", sourceLocation: sourceLocation)
        defer { received.removeFirst(count) }
        return Array(received[..<count])
    }

    /// Runs the loop until the other side has closed.
    func receiveEnd(_ loop: TestLoop, sourceLocation: SourceLocation = #_sourceLocation) throws {
        try loop.run(
            until: {
                receive()
                return hasEnded
            }, "it does not close", sourceLocation: sourceLocation)
    }

    /// Runs the loop until a whole HTTP request has come, and takes it.
    func receiveRequest(_ loop: TestLoop, sourceLocation: SourceLocation = #_sourceLocation) throws -> String {
        var text = ""
        try loop.run(
            until: {
                receive()
                text = String(decoding: received, as: UTF8.self)
                return text.hasSuffix("\r\n\r\n")
            }, "no request came", sourceLocation: sourceLocation)
        received = []
        return text
    }

    /// Takes the request of the opening handshake and answers it.
    @discardableResult
    func acceptHandshake(_ loop: TestLoop, sourceLocation: SourceLocation = #_sourceLocation) throws -> String {
        let request = try receiveRequest(loop, sourceLocation: sourceLocation)
        send(Self.response(to: request))
        return request
    }

    /// The answer to the request of an opening handshake.
    static func response(to request: String) -> String {
        let name = "Sec-WebSocket-Key: "
        let line = request.split(separator: "\r\n").first { $0.hasPrefix(name) } ?? ""
        return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + "Sec-WebSocket-Accept: \(acceptance(of: String(line.dropFirst(name.count))))\r\n\r\n"
    }

    /// Takes a masked Close frame with a code and no reason; returns the code.
    func receiveClose(_ loop: TestLoop, sourceLocation: SourceLocation = #_sourceLocation) throws -> Int {
        let frame = try receive(8, loop, sourceLocation: sourceLocation)
        #expect(frame[..<2] == [0x88, 0x82])
        return Int(frame[6] ^ frame[2]) << 8 | Int(frame[7] ^ frame[3])
    }

    /// An unmasked Close frame, code 1000.
    func sendClose() { send([0x88, 2, 0x03, 0xE8]) }

    func close() { shutdown(descriptor, Int32(SHUT_RDWR)) }
}
