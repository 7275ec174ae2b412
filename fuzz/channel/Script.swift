// The script's side: what it sends, and what it is given, which must be what the peer sent.

import CEvents
import Glibc
@testable import WebSocketEngine
@testable import WebSocketProtocol

final class Script {
    private let socket: WebSocket
    private let queue: EventQueue
    private var random = RandomPool()
    /// Taken from the queue; `cursor` is behind what was delivered.
    private var log = EventRecords()
    private var cursor = 0

    private(set) var sent: [Message] = []
    private(set) var delivered = 0
    private(set) var hasClosed = false
    private(set) var isGone = false

    init(_ socket: WebSocket, _ queue: EventQueue) {
        self.socket = socket
        self.queue = queue
    }

    enum Sending { case sent(wakes: Bool), notOpen, full }

    func send(_ message: Message, directly: Bool) -> Sending {
        var wakes = false
        let result = message.payload.withUnsafeBytes { bytes in
            withUnsafePointer(to: bytes) {
                socket.enqueue(
                    message.opcode, UnsafeBufferPointer(start: $0, count: 1), random: &random, directly: directly,
                    wakes: &wakes)
            }
        }
        switch result {
        case .sent:
            sent.append(message)
            return .sent(wakes: wakes)
        case .notOpen: return .notOpen
        case .failed(let reason):
            require(reason.contains("maxbuffered"), reason)
            return .full
        }
    }

    func close(_ frame: CloseFrame) {
        hasClosed = true
        socket.close(frame)
    }

    /// Forgets the websocket, as a script that ends.
    func abandon() {
        hasClosed = true
        isGone = true
        socket.abandon()
    }

    /// Takes up to `most` events, each of which must be the next of `expected`. Returns whether the engine asks for a
    /// `resume`.
    func deliver(_ most: Int, _ expected: [(event: Event, end: Int)]) -> Bool {
        guard !isGone else { return false }
        var bytes = 0
        var left = most
        while left > 0 {
            if cursor == log.bytes.count {
                cursor = 0
                queue.take(&log)
                if log.isEmpty { break }
            }
            bytes += deliverOne(expected)
            left -= 1
        }
        return bytes > 0 && socket.hasCaughtUp(after: bytes)
    }

    /// Returns how many bytes count as delivered.
    private func deliverOne(_ expected: [(event: Event, end: Int)]) -> Int {
        let event = (log.bytes.baseAddress! + cursor).assumingMemoryBound(to: ws_event.self)
        var size = ws_event_size(event)
        cursor += size
        if Int(event.pointee.type) != WS_EVENT_DEBUG {
            require(delivered < expected.count, "an event that nobody sent")
            let wanted = expected[delivered].event
            require(Int(event.pointee.type) == wanted.type, "another event")
            if let bytes = wanted.payload { require(payload(of: event) == bytes, "other bytes") }
            delivered += 1
        }
        if Int(event.pointee.flags) & WS_EVENT_LENT != 0 {
            let block = UnsafeMutableRawPointer(event + 1).load(as: ws_block.self)
            size += Int(event.pointee.length)
            event.pointee.flags &= ~UInt8(WS_EVENT_LENT)
            event.pointee.length = UInt64(MemoryLayout<ws_block>.size)
            queue.giveBack(block)
        }
        return size
    }
}
