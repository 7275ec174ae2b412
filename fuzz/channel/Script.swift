// The script's side: what it sends, and what it is given, which must be what the peer sent.

import CEvents
import Glibc
@testable import WebSocketEngine
@testable import WebSocketProtocol

final class Script {
    private let socket: WebSocket
    private let queue: EventQueue
    private var random = RandomPool()
    /// Taken from the queue.
    private var records = EventRecords()
    /// The records that were not delivered yet.
    private var rest = EventRecords().elements

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
        while left > 0, let record = nextRecord() {
            deliver(record, expected)
            bytes += record.countedSize
            if let block = record.removeBlock() { queue.giveBack(block) }
            left -= 1
        }
        return bytes > 0 && socket.hasCaughtUp(after: bytes)
    }

    private func nextRecord() -> EventRecords.Element? {
        if let record = rest.next() { return record }
        queue.take(&records)
        rest = records.elements
        return rest.next()
    }

    private func deliver(_ record: EventRecords.Element, _ expected: [(event: Event, end: Int)]) {
        guard record.type != WS_EVENT_DEBUG else { return }
        require(delivered < expected.count, "an event that nobody sent")
        let wanted = expected[delivered].event
        require(record.type == wanted.type, "another event")
        if let bytes = wanted.payload { require(record.payload.elementsEqual(bytes), "other bytes") }
        delivered += 1
    }
}
