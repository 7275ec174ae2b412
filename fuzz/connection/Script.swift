// The script's side of a run: messages that it sends, and a check that it gets exactly the events of the peer's frames.

import CEvents
@testable import WebSocketEngine
@testable import WebSocketProtocol

final class Script {
    private let socket: WebSocket
    private let queue: EventQueue
    private var random = RandomPool()
    /// Records from the queue, and those of them that are not delivered.
    private var records = EventRecords()
    private var rest = EventRecords().elements
    private var restCount = 0

    private(set) var sent: [Message] = []
    /// Events delivered.
    private(set) var delivered = 0
    private(set) var hasClosed = false
    private(set) var isGone = false

    init(_ socket: WebSocket, _ queue: EventQueue) {
        self.socket = socket
        self.queue = queue
    }

    /// Records that the engine has published and the script has not delivered.
    var undeliveredRecords: Int { restCount + queue.count }

    /// `wakes`: the loop must be told to flush.
    enum SendResult { case sent(wakes: Bool), notOpen, full }

    func send(_ message: Message, directly: Bool) -> SendResult {
        var wakes = false
        let result = message.payload.withUnsafeBytes { bytes in
            withUnsafePointer(to: bytes) {
                socket.enqueue(
                    message.opcode, UnsafeBufferPointer(start: $0, count: 1), random: &random,
                    directly: directly,
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

    /// Drops the websocket, as Lua's garbage collector does.
    func dropWebSocket() {
        hasClosed = true
        isGone = true
        restCount = 0
        socket.abandon()
    }

    /// Delivers up to `limit` events; each must be the next of `expected`. Returns whether the loop must be told to
    /// resume reading.
    func deliver(atMost limit: Int, _ expected: [(event: Event, end: Int)]) -> Bool {
        guard !isGone else { return false }
        var bytes = 0
        for _ in 0..<limit {
            guard let record = nextRecord() else { break }
            deliver(record, expected)
            bytes += record.countedSize
            if let block = record.removeBlock() { queue.giveBack(block) }
        }
        return bytes > 0 && socket.hasCaughtUp(after: bytes)
    }

    private func nextRecord() -> EventRecords.Element? {
        if restCount == 0 {
            queue.take(&records)
            rest = records.elements
            restCount = records.count
        }
        guard let record = rest.next() else { return nil }
        restCount -= 1
        return record
    }

    private func deliver(_ record: EventRecords.Element, _ expected: [(event: Event, end: Int)]) {
        guard record.type != WS_EVENT_DEBUG else { return }
        require(delivered < expected.count, "an event without a frame of the peer")
        let wanted = expected[delivered].event
        require(record.type == wanted.type, "an event of another type")
        if let bytes = wanted.payload { require(record.payload.elementsEqual(bytes), "an event with other bytes") }
        delivered += 1
    }
}
