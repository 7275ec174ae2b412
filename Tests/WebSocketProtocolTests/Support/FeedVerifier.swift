// Feeds the same bytes to new MessageReaders: whole, in every cut, and straight into the message where the reader
// offers memory for that. The results must be the same.

import Testing

@testable import WebSocketProtocol

/// The result of reading an input.
struct Reception: Equatable {
    var events: [Event] = []
    var outcome = MessageReader.Outcome.open
    var pongs: [[UInt8]] = []

    var failure: ProtocolFailure? { if case .failed(let failure) = outcome { failure } else { nil } }
    var closeFrame: CloseFrame? { if case .closed(let frame) = outcome { frame } else { nil } }
}

struct FeedVerifier {
    var role = Role.client
    var maximumMessageSize = 1 << 20
    var inflating: DeflateParameters.Direction?

    /// The reception of the whole input, after a check that every cut gives the same.
    @discardableResult
    func verify(_ input: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) -> Reception {
        let whole = feed([input[...]])
        func same(_ other: Reception, _ how: String) {
            #expect(other == whole, "fed \(how)", sourceLocation: sourceLocation)
        }
        for cut in Cut.all(of: input) { same(feed(cut.pieces), cut.description) }
        for size in [1, 13, 4099, .max] where input.count < 4096 || size > 1000 {
            same(feedIntoMessage(input, atMost: size), "into the message, \(size) bytes at once")
        }
        return whole
    }

    func reader() -> MessageReader {
        MessageReader(role: role, maximumMessageSize: maximumMessageSize, inflating: inflating)
    }

    private func feed(_ pieces: [ArraySlice<UInt8>]) -> Reception {
        var reader = reader()
        var events = EventRecords()
        var outcome = MessageReader.Outcome.open
        for piece in pieces { outcome = reader.receive(piece, into: &events) }
        return Reception(events: events.events(), outcome: outcome, pongs: reader.dequeuePongs())
    }

    /// As the engine does it: into `payloadDestination` if there is one.
    private func feedIntoMessage(_ input: [UInt8], atMost size: Int) -> Reception {
        var reader = reader()
        var events = EventRecords()
        var outcome = MessageReader.Outcome.open
        var rest = input[...]
        while !rest.isEmpty {
            if let destination = reader.payloadDestination(&events) {
                let piece = rest.prefix(min(size, destination.count))
                destination.copyBytes(from: piece)
                outcome = reader.didReadPayload(piece.count, into: &events)
                rest = rest.dropFirst(piece.count)
            } else {
                let piece = rest.prefix(min(size, 512))
                outcome = reader.receive(piece, into: &events)
                rest = rest.dropFirst(piece.count)
            }
        }
        return Reception(events: events.events(), outcome: outcome, pongs: reader.dequeuePongs())
    }
}

extension MessageReader {
    mutating func receive(_ bytes: some Collection<UInt8>, into events: inout EventRecords) -> Outcome {
        var bytes = Array(bytes)
        return bytes.withUnsafeMutableBytes { bytes in
            var rest = bytes[...]
            while true {
                let outcome = receive(UnsafeMutableRawBufferPointer(rebasing: rest), into: &events)
                guard unconsumed > 0 else { return outcome }
                rest = rest.suffix(unconsumed)
            }
        }
    }

    /// The payloads of all pongs to send.
    mutating func dequeuePongs() -> [[UInt8]] {
        var pongs: [[UInt8]] = []
        while let pong = dequeuePong() { pongs.append(Array(pong)) }
        return pongs
    }
}
