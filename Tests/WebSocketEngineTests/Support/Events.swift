// The records of an EventQueue as values.

import CEvents
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

struct Event: Equatable, CustomStringConvertible {
    enum Value: Equatable {
        case text(String)
        case integer(Int)
        case number(Double)
        case boolean(Bool)
        case table([String: Value])
    }

    let type: Int
    let isFinal: Bool
    var error = ""
    var info: [String: Value] = [:]

    var description: String {
        let names = [
            WS_EVENT_OPEN: "OPEN", WS_EVENT_CLOSE: "CLOSE", WS_EVENT_ERROR: "ERROR", WS_EVENT_ENDED: "ENDED",
            WS_EVENT_ATTEMPT: "ATTEMPT",
        ]
        return (names[type] ?? "\(type)") + (isFinal ? " (final)" : "") + (error.isEmpty ? "" : " '\(error)'")
            + (info.isEmpty ? "" : " \(info)")
    }

    /// `OPEN`, `CLOSE!`: with a `!` if it is the last of a connect.
    var name: String { String(description.prefix { $0 != " " }) + (isFinal ? "!" : "") }

    func text(_ name: String) -> String? { if case .text(let text)? = info[name] { text } else { nil } }
    func integer(_ name: String) -> Int? { if case .integer(let value)? = info[name] { value } else { nil } }
    func number(_ name: String) -> Double? { if case .number(let value)? = info[name] { value } else { nil } }

    init(_ header: ws_event, _ payload: UnsafeRawBufferPointer) {
        let hasInfo = [WS_EVENT_OPEN, WS_EVENT_CLOSE, WS_EVENT_ERROR, WS_EVENT_ENDED].contains(Int(header.type))
        self.init(
            type: Int(header.type), isFinal: Int(header.flags) & WS_EVENT_FINAL != 0,
            hasInfo ? payload : UnsafeRawBufferPointer(start: nil, count: 0))
        guard Int(header.type) == WS_EVENT_ATTEMPT else { return }
        let question = payload.loadUnaligned(as: ws_question.self)
        info = ["question": .integer(Int(question.number)), "attempt": .integer(Int(question.attempt))]
    }

    /// - Parameter payload: as EventInfo writes it.
    init(type: Int = WS_EVENT_ERROR, isFinal: Bool = false, _ payload: UnsafeRawBufferPointer) {
        self.type = type
        self.isFinal = isFinal
        guard !payload.isEmpty else { return }
        var reader = Reader(rest: payload[...])
        error = reader.text()
        info = reader.table()
    }

    private struct Reader {
        var rest: Slice<UnsafeRawBufferPointer>

        mutating func load<Value: BitwiseCopyable>(_ type: Value.Type) -> Value {
            defer { rest = rest.dropFirst(MemoryLayout<Value>.size) }
            return UnsafeRawBufferPointer(rebasing: rest).loadUnaligned(as: type)
        }

        mutating func text(_ count: Int) -> String {
            defer { rest = rest.dropFirst(count) }
            return String(decoding: rest.prefix(count), as: UTF8.self)
        }

        mutating func text() -> String { text(Int(load(UInt32.self))) }

        mutating func table() -> [String: Value] {
            var table: [String: Value] = [:]
            while !rest.isEmpty {
                let tag = Int(load(UInt8.self))
                if tag == WS_INFO_END { break }
                let name = text(Int(load(UInt8.self)))
                switch tag {
                case WS_INFO_STRING: table[name] = .text(text())
                case WS_INFO_INTEGER: table[name] = .integer(Int(load(Int64.self)))
                case WS_INFO_NUMBER: table[name] = .number(load(Double.self))
                case WS_INFO_BOOLEAN: table[name] = .boolean(load(UInt8.self) != 0)
                default: table[name] = .table(self.table())
                }
            }
            return table
        }
    }
}

extension EventQueue {
    /// Takes the queued events, and the bytes of their records.
    func takeEvents() -> (events: [Event], bytes: Int) {
        var records = EventRecords()
        take(&records)
        var events: [Event] = []
        var offset = 0
        while offset < records.bytes.count {
            let header = records.bytes.loadUnaligned(fromByteOffset: offset, as: ws_event.self)
            let size = withUnsafePointer(to: header) { ws_event_size($0) }
            let start = offset + MemoryLayout<ws_event>.size
            let length = Int(header.flags) & WS_EVENT_DETACHED == 0 ? Int(header.length) : 0
            events.append(Event(header, UnsafeRawBufferPointer(rebasing: records.bytes[start..<start + length])))
            offset += size
        }
        return (events, records.size)
    }
}
