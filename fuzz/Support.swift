// Shared by the fuzz targets: small thresholds, and MessageReader fed with bytes in any cut.

import Glibc
@testable import WebSocketProtocol

/// So small that an input of some hundred bytes reaches every path.
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

/// One event record by value.
struct Record: Equatable {
    var type: Int
    var payload: [UInt8]
}

extension EventRecords {
    /// Removes the records and puts detached blocks into the pool, as Lua's side does after delivery.
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

/// The result of reading some bytes.
struct Reading: Equatable {
    var records: [Record]
    var outcome: MessageReader.Outcome
    var pongs: [[UInt8]] = []
}

/// The input's first byte chooses role, message limit, compression and debug records.
func makeReader(_ choice: UInt8) -> MessageReader {
    let takeover = choice & 8 != 0
    return MessageReader(
        role: choice & 1 == 0 ? .client : .server, maximumMessageSize: choice & 2 == 0 ? 1 << 16 : 300,
        inflating: choice & 4 == 0 ? nil : .init(windowBits: 9 + Int(choice >> 4 & 7) % 7, takeover: takeover),
        keepaliveKey: 0x6161_6161, debug: choice & 0x80 != 0, thresholds: smallThresholds())
}

/// Feeds `input` in pieces; `cut` returns the next piece's size for an offset. Large payloads are read into their
/// message, as the engine does it.
func read(_ input: [UInt8], choice: UInt8, cut: (Int) -> Int) -> Reading {
    var reader = makeReader(choice)
    var records = EventRecords()
    var reading = Reading(records: [], outcome: .open)
    var input = input
    input.withUnsafeMutableBytes { input in
        var offset = 0
        while offset < input.count {
            let count = max(1, min(cut(offset), input.count - offset))
            let piece = UnsafeMutableRawBufferPointer(rebasing: input[offset..<offset + count])
            if let destination = reader.payloadDestination(&records) {
                let fitting = min(count, destination.count)
                destination.copyMemory(from: UnsafeRawBufferPointer(rebasing: piece[..<fitting]))
                reading.outcome = reader.didReadPayload(fitting, into: &records)
                offset += fitting
            } else {
                reading.outcome = reader.receive(piece, into: &records)
                offset += count - reader.unconsumed
            }
            reading.records += records.removeRecords()
            while let pong = reader.dequeuePong() { reading.pongs.append(Array(pong)) }
        }
    }
    return reading
}

func bytes(_ data: UnsafePointer<UInt8>, _ size: Int) -> [UInt8] {
    Array(UnsafeBufferPointer(start: data, count: size))
}

/// Consecutive pieces of `size` bytes.
func pieces(of input: UnsafeRawBufferPointer, _ size: Int) -> [UnsafeRawBufferPointer] {
    stride(from: 0, to: input.count, by: size).map {
        UnsafeRawBufferPointer(rebasing: input[$0..<min($0 + size, input.count)])
    }
}
