// What the fuzz targets share: reading the log back, and feeding a connection in pieces.

import CEvents
import Glibc

/// One record of the log, by value.
struct Record: Equatable {
    var type: UInt8
    var payload: [UInt8]
}

/// So small that an input of some hundred bytes comes to every path.
func smallThresholds() -> Thresholds {
    var thresholds = Thresholds()
    thresholds.direct = 24
    thresholds.reservation = 48
    thresholds.lending = 16
    thresholds.inflatedInLog = 48
    thresholds.inflatedAtOnce = 96
    thresholds.inflatingStep = 32
    thresholds.pongs = 40
    return thresholds
}

extension EventRecords {
    /// Takes the records out of the log, and gives the memory of large messages back, as the reader on Lua's side does.
    mutating func takeRecords() -> [Record] {
        var records: [Record] = []
        guard var p = bytes.baseAddress else { return records }
        let end = p + bytes.count
        while p < end {
            let event = p.assumingMemoryBound(to: ws_event.self)
            let inline = p + MemoryLayout<ws_event>.size
            let isLent = Int(event.pointee.flags) & WS_EVENT_LENT != 0
            let block = isLent ? inline.load(as: ws_block.self) : ws_block(bytes: inline, capacity: 0)
            let payload = UnsafeRawBufferPointer(start: block.bytes, count: Int(event.pointee.length))
            records.append(Record(type: event.pointee.type, payload: Array(payload)))
            if isLent {
                inline.storeBytes(of: ws_block(bytes: nil, capacity: 0), as: ws_block.self)
                if !keep(block) { free(block.bytes) }
            }
            p += ws_event_size(event)
        }
        removeAll()
        return records
    }
}

/// What a connection made of some bytes.
struct Reading: Equatable {
    var records: [Record]
    var outcome: MessageReader.Outcome
    var pongs: [[UInt8]] = []
}

/// The input's first byte chooses a connection: the role, the message limit, compression, and whether frames are told.
func makeConnection(_ choice: UInt8) -> MessageReader {
    let takeover = choice & 8 != 0
    return MessageReader(
        role: choice & 1 == 0 ? .client : .server, maximumMessageSize: choice & 2 == 0 ? 1 << 16 : 300,
        inflating: choice & 4 == 0 ? nil : .init(windowBits: 9 + Int(choice >> 4 & 7) % 7, takeover: takeover),
        keepaliveKey: 0x6161_6161, traces: choice & 0x80 != 0, thresholds: smallThresholds())
}

/// Feeds `input` in pieces: `cut` says how many bytes the next piece has. Some go the direct way, as large
/// payloads do.
func read(_ input: [UInt8], choice: UInt8, cut: (Int) -> Int) -> Reading {
    var connection = makeConnection(choice)
    var log = EventRecords()
    var reading = Reading(records: [], outcome: .open)
    var wire = input
    wire.withUnsafeMutableBytes { wire in
        var offset = 0
        while offset < wire.count {
            let count = max(1, min(cut(offset), wire.count - offset))
            let piece = UnsafeMutableRawBufferPointer(rebasing: wire[offset..<offset + count])
            if let space = connection.payloadDestination(&log) {
                let direct = min(count, space.count)
                space.copyMemory(from: UnsafeRawBufferPointer(rebasing: piece[..<direct]))
                reading.outcome = connection.didReadPayload(direct, into: &log)
                offset += direct
            } else {
                reading.outcome = connection.receive(piece, into: &log)
                offset += count - connection.unread
            }
            reading.records += log.takeRecords()
            while let pong = connection.nextPong() { reading.pongs.append(Array(pong)) }
        }
    }
    return reading
}

func bytes(_ data: UnsafePointer<UInt8>, _ size: Int) -> [UInt8] {
    Array(UnsafeBufferPointer(start: data, count: size))
}
