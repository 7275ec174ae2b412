// Reads a request in every cut, followed by bytes of a frame. Every cut must give the same request and leave the frame,
// or give the same refusal.

import Testing

@testable import WebSocketProtocol

enum RequestVerifier {
    private struct Reading: Equatable {
        /// nil while more bytes are awaited.
        var result: Result<HTTPRequest, RequestRefusal>?
        var consumed: Int
    }

    static func verify(
        _ bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation
    ) -> Result<HTTPRequest, RequestRefusal>? {
        let input = bytes + [0x81, 0x03, 0x0D, 0x0A, 0x0A]
        let whole = read([input[...]])
        if case .success = whole.result {
            #expect(
                whole.consumed == bytes.count, "the frame after the request is left", sourceLocation: sourceLocation)
        }
        for cut in Cut.all(of: input) {
            #expect(read(cut.pieces) == whole, "fed \(cut.description)", sourceLocation: sourceLocation)
        }
        return whole.result
    }

    static func request(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) throws -> HTTPRequest {
        try #require(verify(Array(text.utf8), sourceLocation: sourceLocation)).get()
    }

    /// The refusal as `status reason`; nil when there is none.
    static func refusal(_ bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) -> String? {
        guard case .failure(let refusal) = verify(bytes, sourceLocation: sourceLocation) else { return nil }
        return "\(refusal.status) \(refusal.reason)"
    }

    static func refusal(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) -> String? {
        refusal(Array(text.utf8), sourceLocation: sourceLocation)
    }

    private static func read(_ pieces: [ArraySlice<UInt8>]) -> Reading {
        var reader = HTTPRequestReader()
        var before = 0
        for piece in pieces {
            do throws(RequestRefusal) {
                if let (request, consumed) = try reader.read(piece) {
                    return Reading(result: .success(request), consumed: before + consumed)
                }
            } catch {
                return Reading(result: .failure(error), consumed: 0)
            }
            before += piece.count
        }
        return Reading(result: nil, consumed: before)
    }
}

extension HTTPRequestReader {
    mutating func read(_ bytes: ArraySlice<UInt8>) throws(RequestRefusal) -> (request: HTTPRequest, consumed: Int)? {
        let copy = ByteBuffer(Array(bytes))
        return try read(UnsafeRawBufferPointer(copy.bytes))
    }
}

extension HTTPResponse {
    /// The bytes of the response to a request with this method.
    func text(method: String? = "GET") -> String {
        var output = ByteBuffer()
        let fits = append(to: &output, method: method)
        #expect(fits)
        return String(decoding: output.array, as: UTF8.self)
    }
}
