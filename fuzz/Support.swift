// What the fuzz targets share: reading the log back, and feeding a connection in pieces.

import CEvents

/// One record of the log, by value.
struct Record: Equatable {
    var type: UInt8
    var payload: [UInt8]
}

extension EventLog {
    func read() -> [Record] {
        var records: [Record] = []
        guard var p = bytes.baseAddress else { return records }
        let end = p + bytes.count
        while p < end {
            let event = p.assumingMemoryBound(to: ws_event.self)
            let inline = UnsafeRawPointer(p + MemoryLayout<ws_event>.size)
            let isLent = Int(event.pointee.flags) & WS_EVENT_LENT != 0
            let source = isLent ? UnsafeRawPointer(inline.load(as: ws_block.self).bytes!) : inline
            let payload = UnsafeRawBufferPointer(start: source, count: Int(event.pointee.length))
            records.append(Record(type: event.pointee.type, payload: Array(payload)))
            p += ws_event_size(event)
        }
        return records
    }
}

/// What a connection made of some bytes.
struct Reading: Equatable {
    var records: [Record]
    var outcome: Connection.Outcome
    var pongs: [[UInt8]] = []
}

/// The input's first byte chooses a connection: the role, the message limit and compression.
func makeConnection(_ choice: UInt8) -> Connection {
    let takeover = choice & 8 != 0
    return Connection(
        role: choice & 1 == 0 ? .client : .server, maximumMessageSize: choice & 2 == 0 ? 1 << 16 : 300,
        inflating: choice & 4 == 0 ? nil : .init(windowBits: 9 + Int(choice >> 4) % 7, takeover: takeover))
}

/// Feeds `input` in pieces: `cut` says how many bytes the next piece has. Some go the direct way, as large
/// payloads do.
func read(_ input: [UInt8], choice: UInt8, cut: (Int) -> Int) -> Reading {
    var connection = makeConnection(choice)
    var log = EventLog()
    var outcome = Connection.Outcome.open
    var pongs: [[UInt8]] = []
    var wire = input
    wire.withUnsafeMutableBytes { wire in
        var offset = 0
        while offset < wire.count {
            let count = max(1, min(cut(offset), wire.count - offset))
            let piece = UnsafeMutableRawBufferPointer(rebasing: wire[offset..<offset + count])
            if let space = connection.directSpace(&log) {
                let direct = min(count, space.count)
                space.copyMemory(from: UnsafeRawBufferPointer(rebasing: piece[..<direct]))
                outcome = connection.receivedDirectly(direct, into: &log)
                offset += direct
            } else {
                outcome = connection.receive(piece, into: &log)
                offset += count - connection.unread
            }
            while let pong = connection.nextPong() { pongs.append(Array(pong)) }
        }
    }
    return Reading(records: log.read(), outcome: outcome, pongs: pongs)
}

func bytes(_ data: UnsafePointer<UInt8>, _ size: Int) -> [UInt8] {
    Array(UnsafeBufferPointer(start: data, count: size))
}
