// Parses a head in every cut, with bytes of the connection behind it, and checks that each cut gives the
// same head or the same failure and leaves exactly the bytes behind the head.

import Testing

@testable import WebSocketProtocol

enum HeadVerifier {
    /// The head, or why it was refused.
    static func verify(
        _ bytes: [UInt8], prefix: String = "HTTP/", sourceLocation: SourceLocation = #_sourceLocation
    ) -> Result<HTTPHead, HandshakeFailure> {
        func parse(_ pieces: [ArraySlice<UInt8>]) -> Parsing { Self.parse(pieces, prefix) }
        let input = bytes + [0x81, 0x03, 0x0D, 0x0A, 0x0A]
        let whole = parse([input[...]])
        if case .success = whole.head {
            #expect(whole.consumed == bytes.count, "the frame behind the head is left", sourceLocation: sourceLocation)
        }
        func same(_ other: Parsing, _ how: String) {
            #expect(other.head == whole.head, "fed \(how)", sourceLocation: sourceLocation)
            if case .success = whole.head {
                #expect(other.consumed == whole.consumed, "fed \(how)", sourceLocation: sourceLocation)
            }
        }
        if input.count < 4096 {
            same(parse(input.indices.map { input[$0...$0] }), "one byte at a time")
            for cut in 0...input.count { same(parse([input[..<cut], input[cut...]]), "in two pieces cut at \(cut)") }
        } else {
            same(parse(stride(from: 0, to: input.count, by: 997).map { input[$0...].prefix(997) }), "in packets")
        }
        return whole.head
    }

    static func failure(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) -> String? {
        switch verify(Array(text.utf8), sourceLocation: sourceLocation) {
        case .success: nil
        case .failure(let failure): failure.reason
        }
    }

    /// The head of an answer that must be one.
    static func head(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) throws -> HTTPHead {
        try verify(Array(text.utf8), sourceLocation: sourceLocation).get()
    }

    static func request(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) throws -> HTTPHead {
        try verify(Array(text.utf8), prefix: "", sourceLocation: sourceLocation).get()
    }

    private struct Parsing {
        var head: Result<HTTPHead, HandshakeFailure>
        var consumed: Int
    }

    private static func parse(_ pieces: [ArraySlice<UInt8>], _ prefix: String) -> Parsing {
        var parser = HTTPHeadParser(prefix: prefix)
        var before = 0
        for piece in pieces {
            do throws(HandshakeFailure) {
                if let (head, consumed) = try parser.parse(piece) {
                    return Parsing(head: .success(head), consumed: before + consumed)
                }
            } catch {
                return Parsing(head: .failure(error), consumed: before)
            }
            before += piece.count
        }
        return Parsing(head: .failure(HandshakeFailure(reason: "the head is not whole")), consumed: before)
    }
}

extension HTTPHeadParser {
    mutating func parse(_ bytes: ArraySlice<UInt8>) throws(HandshakeFailure) -> (head: HTTPHead, consumed: Int)? {
        let copy = ByteBuffer(Array(bytes))
        return try parse(UnsafeRawBufferPointer(copy.bytes))
    }
}
