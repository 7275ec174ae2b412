// A WebSocket server on 127.0.0.1 for the tests, which call it step by step on their own thread, and the websockets and events
// on the client's side.

import CEvents
import CLinux
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

final class LocalServer {
    private let listener: ListeningSocket
    /// Of the websockets that were made.
    private var queues: [EventQueue] = []

    init() throws {
        listener = try ListeningSocket(backlog: 128)
        Self.limitReads(of: listener.number)
    }

    var port: Int { listener.port }

    deinit {
        // A queue and a live websocket refer to each other.
        for queue in queues { queue.endWebsockets("the test has ended") }
    }

    private static func limitReads(of socket: Int32) {
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    /// The next connection, a blocking socket. This and each read fails after 10 s.
    func accept() throws -> Int32 {
        let peer = Glibc.accept(listener.number, nil, nil)
        try #require(peer >= 0)
        Self.limitReads(of: peer)
        return peer
    }

    static func isReadable(_ peer: Int32) -> Bool {
        var byte: UInt8 = 0
        return recv(peer, &byte, 1, Int32(MSG_PEEK | MSG_DONTWAIT)) >= 0
    }

    /// Reads the request of an opening handshake.
    static func readRequest(from peer: Int32) throws -> String {
        var request = ""
        while !request.hasSuffix("\r\n\r\n") {
            var byte: UInt8 = 0
            try #require(read(peer, &byte, 1) == 1)
            request.unicodeScalars.append(Unicode.Scalar(byte))
        }
        return request
    }

    static func answer(_ request: String, to peer: Int32) throws {
        try send(Array(Peer.response(to: request).utf8), to: peer)
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
