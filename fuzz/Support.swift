// What the fuzz targets share: reading event records back, and feeding a MessageReader in pieces.

import CEvents
import Glibc

/// One event record by value.
struct Record: Equatable {
    var type: Int
    var payload: [UInt8]
}

/// So small that an input of some hundred bytes comes to every path.
func smallThresholds() -> Thresholds {
    var thresholds = Thresholds()
    thresholds.readIntoMessage = 24
    thresholds.reservation = 48
    thresholds.detach = 16
    thresholds.inflateIntoRecord = 48
    thresholds.inflatedPerCall = 96
    thresholds.inflateSpace = 32
    thresholds.pendingPongs = 40
    return thresholds
}

extension EventRecords {
    /// Removes the records and puts detached blocks into the pool, as the reader on Lua's side does.
    mutating func removeRecords() -> [Record] {
        let records = elements.map { Record(type: $0.type, payload: Array($0.payload)) }
        for element in elements {
            guard let block = element.removeBlock() else { continue }
            if !pool.put(block) { free(block.bytes) }
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
        keepaliveKey: 0x6161_6161, debug: choice & 0x80 != 0, thresholds: smallThresholds())
}

/// Feeds `input` in pieces: `cut` says how many bytes the next piece has. Some go the direct way, as large
/// payloads do.
func read(_ input: [UInt8], choice: UInt8, cut: (Int) -> Int) -> Reading {
    var connection = makeConnection(choice)
    var records = EventRecords()
    var reading = Reading(records: [], outcome: .open)
    var wire = input
    wire.withUnsafeMutableBytes { wire in
        var offset = 0
        while offset < wire.count {
            let count = max(1, min(cut(offset), wire.count - offset))
            let piece = UnsafeMutableRawBufferPointer(rebasing: wire[offset..<offset + count])
            if let space = connection.payloadDestination(&records) {
                let direct = min(count, space.count)
                space.copyMemory(from: UnsafeRawBufferPointer(rebasing: piece[..<direct]))
                reading.outcome = connection.didReadPayload(direct, into: &records)
                offset += direct
            } else {
                reading.outcome = connection.receive(piece, into: &records)
                offset += count - connection.unconsumed
            }
            reading.records += records.removeRecords()
            while let pong = connection.dequeuePong() { reading.pongs.append(Array(pong)) }
        }
    }
    return reading
}

func bytes(_ data: UnsafePointer<UInt8>, _ size: Int) -> [UInt8] {
    Array(UnsafeBufferPointer(start: data, count: size))
}
