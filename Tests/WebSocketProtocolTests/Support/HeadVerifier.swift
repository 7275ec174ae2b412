// Parses a response's head in every cut, followed by bytes of a frame. Every cut must give the same head and leave the frame, or
// give the same failure.

import Testing

@testable import WebSocketProtocol

enum HeadVerifier {
    /// The head, or the failure.
    static func verify(
        _ bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation
    ) -> Result<HTTPHead, HandshakeFailure> {
        let input = bytes + [0x81, 0x03, 0x0D, 0x0A, 0x0A]
        let whole = parse([input[...]])
        if case .success = whole.head {
            #expect(whole.consumed == bytes.count, "the frame after the head is left", sourceLocation: sourceLocation)
        }
        func same(_ other: Parsing, _ how: String) {
            #expect(other.head == whole.head, "fed \(how)", sourceLocation: sourceLocation)
            if case .success = whole.head {
                #expect(other.consumed == whole.consumed, "fed \(how)", sourceLocation: sourceLocation)
            }
        }
        for cut in Cut.all(of: input) { same(parse(cut.pieces), cut.description) }
        return whole.head
    }

    static func failure(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) -> String? {
        switch verify(Array(text.utf8), sourceLocation: sourceLocation) {
        case .success: nil
        case .failure(let failure): failure.reason
        }
    }

    /// The head of a response.
    static func head(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) throws -> HTTPHead {
        try verify(Array(text.utf8), sourceLocation: sourceLocation).get()
    }

    private struct Parsing {
        var head: Result<HTTPHead, HandshakeFailure>
        var consumed: Int
    }

    private static func parse(_ pieces: [ArraySlice<UInt8>]) -> Parsing {
        var parser = HTTPHeadParser()
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
