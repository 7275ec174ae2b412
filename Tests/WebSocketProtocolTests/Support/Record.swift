// Event records by value, so that tests can compare them.

import CEvents
import Testing

@testable import WebSocketProtocol

enum Event: Equatable, Sendable {
    case text(String)
    case binary([UInt8])
    case ping([UInt8])
    case pong([UInt8])
    case fragment(received: Int)
    /// Events of the engine.
    case other(type: Int, [UInt8])

    init(type: Int, payload: [UInt8]) {
        switch type {
        case WS_EVENT_TEXT: self = .text(String(decoding: payload, as: UTF8.self))
        case WS_EVENT_BINARY: self = .binary(payload)
        case WS_EVENT_PING: self = .ping(payload)
        case WS_EVENT_PONG: self = .pong(payload)
        case WS_EVENT_FRAGMENT:
            self = .fragment(received: payload.withUnsafeBytes { Int($0.loadUnaligned(as: UInt64.self)) })
        default: self = .other(type: type, payload)
        }
    }
}

struct Record: Equatable {
    var event: Event
    var socket: UInt32 = 0
    var flags = 0
    /// Address and capacity of the detached block, if there is one.
    var block: UnsafeMutableRawPointer?
    var capacity = 0

    var isDetached: Bool { flags & WS_EVENT_DETACHED != 0 }
}

extension EventRecords {
    /// Every record, after a check that records, `count` and `size` agree.
    func records(sourceLocation: SourceLocation = #_sourceLocation) -> [Record] {
        var sizeOfAll = 0
        let records = elements.map { element in
            sizeOfAll += element.countedSize
            return Record(
                event: Event(type: element.type, payload: Array(element.payload)), socket: element.socket,
                flags: element.flags, block: element.block?.bytes, capacity: element.block.map { Int($0.capacity) } ?? 0
            )
        }
        #expect(count == records.count, sourceLocation: sourceLocation)
        #expect(size == sizeOfAll, sourceLocation: sourceLocation)
        return records
    }

    func events(sourceLocation: SourceLocation = #_sourceLocation) -> [Event] {
        records(sourceLocation: sourceLocation).map(\.event)
    }
}
