// Feeds the same bytes to fresh connections in every cut that matters: whole, one byte at a time, in two
// pieces, and past the read buffer where the connection offers that. What comes out must be the same.

import Testing

@testable import WebSocketProtocol

/// What a connection made of its input.
struct Reception: Equatable {
    var events: [Event] = []
    var outcome = MessageReader.Outcome.open
    var pongs: [[UInt8]] = []

    var failure: ProtocolFailure? { if case .failed(let failure) = outcome { failure } else { nil } }
    var closeFrame: CloseFrame? { if case .closed(let frame) = outcome { frame } else { nil } }
}

struct FeedVerifier {
    var role = MessageReader.Role.client
    var maximumMessageSize = 1 << 20
    var inflating: DeflateParameters.Direction?

    /// The reception of the whole input, after a check that every cut gives the same.
    @discardableResult
    func verify(_ input: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) -> Reception {
        let whole = feed([input[...]])
        func same(_ other: Reception, _ how: String) {
            #expect(other == whole, "fed \(how)", sourceLocation: sourceLocation)
        }
        if input.count < 4096 { same(feed(input.indices.map { input[$0...$0] }), "one byte at a time") }
        for cut in cuts(input.count) { same(feed([input[..<cut], input[cut...]]), "in two pieces cut at \(cut)") }
        for most in [1, 13, 4099, .max] where input.count < 4096 || most > 1000 {
            same(feedDirectly(input, atMost: most), "directly, at most \(most) bytes at once")
        }
        return whole
    }

    /// Every position of a short input, some of a long one.
    private func cuts(_ count: Int) -> [Int] {
        if count < 200 { return Array(0...count) }
        return Array(0..<20) + stride(from: 20, to: count, by: count / 16 + 1)
    }

    func connection() -> MessageReader {
        MessageReader(role: role, maximumMessageSize: maximumMessageSize, inflating: inflating)
    }

    private func feed(_ pieces: [ArraySlice<UInt8>]) -> Reception {
        var connection = connection()
        var events = EventRecords()
        var outcome = MessageReader.Outcome.open
        for piece in pieces { outcome = connection.receive(piece, into: &events) }
        return Reception(events: events.events(), outcome: outcome, pongs: connection.dequeuePongs())
    }

    /// As the engine does it: into the connection's own memory whenever it offers some.
    private func feedDirectly(_ input: [UInt8], atMost most: Int) -> Reception {
        var connection = connection()
        var events = EventRecords()
        var outcome = MessageReader.Outcome.open
        var rest = input[...]
        while !rest.isEmpty {
            if let space = connection.payloadDestination(&events) {
                let piece = rest.prefix(min(most, space.count))
                space.copyBytes(from: piece)
                outcome = connection.didReadPayload(piece.count, into: &events)
                rest = rest.dropFirst(piece.count)
            } else {
                let piece = rest.prefix(min(most, 512))
                outcome = connection.receive(piece, into: &events)
                rest = rest.dropFirst(piece.count)
            }
        }
        return Reception(events: events.events(), outcome: outcome, pongs: connection.dequeuePongs())
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
