// The records of an event log in domain words, read back as CEvents.h lays them out.

import CEvents
import Testing

@testable import WebSocketProtocol

enum Event: Equatable, Sendable {
    case text(String)
    case binary([UInt8])
    case ping([UInt8])
    case pong([UInt8])
    case fragment(received: Int)
    /// What only the engine writes.
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
    /// Where a lent message is.
    var block: UnsafeMutableRawPointer?
    var capacity = 0

    var isLent: Bool { flags & WS_EVENT_LENT != 0 }
}

extension EventRecords {
    /// Every record, after a check that records, `count` and `size` agree.
    func records(sourceLocation: SourceLocation = #_sourceLocation) -> [Record] {
        var records: [Record] = []
        var offset = 0
        var lentBytes = 0
        let bytes = UnsafeRawBufferPointer(bytes)
        while offset < bytes.count {
            let header = bytes.loadUnaligned(fromByteOffset: offset, as: ws_event.self)
            var record = Record(
                event: .text(""), socket: header.socket, flags: Int(header.flags))
            let body = bytes.baseAddress! + offset + MemoryLayout<ws_event>.size
            var payload = UnsafeRawBufferPointer(start: body, count: Int(header.length))
            if record.isLent {
                let block = body.load(as: ws_block.self)
                record.block = block.bytes
                record.capacity = Int(block.capacity)
                payload = UnsafeRawBufferPointer(start: block.bytes, count: Int(header.length))
                lentBytes += payload.count
            }
            record.event = Event(type: Int(header.type), payload: Array(payload))
            records.append(record)
            offset += withUnsafePointer(to: header) { ws_event_size($0) }
        }
        #expect(offset == bytes.count, "a record goes past the end of the log", sourceLocation: sourceLocation)
        #expect(count == records.count, sourceLocation: sourceLocation)
        #expect(size == bytes.count + lentBytes, sourceLocation: sourceLocation)
        return records
    }

    func events(sourceLocation: SourceLocation = #_sourceLocation) -> [Event] {
        records(sourceLocation: sourceLocation).map(\.event)
    }
}
