// A WebSocket server on 127.0.0.1 for the tests, which call it step by step on their own thread, and the websockets and events
// on the client's side.

import CEvents
import CLinux
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

final class LocalServer {
    private let listener: Int32
    let port: Int
    /// Of the websockets that were made.
    private var queues: [EventQueue] = []

    init() throws {
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let isListening = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && listen(listener, 128) == 0 && getsockname(listener, $0, &length) == 0
            }
        }
        try #require(isListening)
        port = Int(UInt16(bigEndian: address.sin_port))
        Self.limitReads(of: listener)
    }

    deinit {
        close(listener)
        // A queue and a live websocket refer to each other.
        for queue in queues { queue.endWebsockets("the test has ended") }
    }

    private static func limitReads(of socket: Int32) {
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    /// The next connection, a blocking socket. This and each read fails after 10 s.
    func accept() throws -> Int32 {
        let peer = Glibc.accept(listener, nil, nil)
        try #require(peer >= 0)
        Self.limitReads(of: peer)
        return peer
    }

    static func isReadable(_ peer: Int32) -> Bool {
        var byte: UInt8 = 0
        return recv(peer, &byte, 1, Int32(MSG_PEEK | MSG_DONTWAIT)) >= 0
    }

    /// Reads the request of an opening handshake. Returns its Sec-WebSocket-Key.
    static func readRequest(from peer: Int32) throws -> String {
        var request = ""
        while !request.hasSuffix("\r\n\r\n") {
            var byte: UInt8 = 0
            try #require(read(peer, &byte, 1) == 1)
            request.unicodeScalars.append(Unicode.Scalar(byte))
        }
        let name = "Sec-WebSocket-Key: "
        let line = try #require(request.split(separator: "\r\n").first { $0.hasPrefix(name) })
        return String(line.dropFirst(name.count))
    }

    static func answer(_ key: String, to peer: Int32) throws {
        try send(
            Array(
                ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    + "Sec-WebSocket-Accept: \(acceptance(of: key))\r\n\r\n").utf8), to: peer)
    }

    static func send(_ bytes: [UInt8], to peer: Int32) throws {
        try #require(Glibc.send(peer, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
    }

    static func receive(_ count: Int, from peer: Int32) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        try #require(recv(peer, &bytes, count, Int32(MSG_WAITALL)) == count)
        return bytes
    }

    /// A websocket for this server.
    func websocket(_ queue: EventQueue, id: UInt32 = 1, change: (inout Options) -> Void = { _ in }) throws -> WebSocket
    {
        queues.append(queue)
        var options = Options()
        options.url = try WebSocketURL("ws://127.0.0.1:\(port)/")
        change(&options)
        return WebSocket(options, queue: queue, id: id)
    }
}

extension EventQueue {
    /// The types of the queued events, which are removed.
    func takeTypes() -> [Int] {
        var records = EventRecords()
        take(&records)
        return records.elements.map(\.type)
    }
}

/// Has the descriptor's number stand for /dev/null, as when a host closed it and opened a file. Its owner will not close it:
/// the caller must. (The number itself must not become free: another test could get it.)
func replaceDescriptor(_ number: Int32) throws {
    let null = open("/dev/null", O_RDWR)
    try #require(null >= 0 && dup2(null, number) == number)
    close(null)
}
