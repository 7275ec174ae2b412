import Testing

@testable import WebSocketProtocol

@Suite struct ResponseBodyTests {
    private struct Outcome: Equatable {
        var text: String
        var isComplete: Bool
    }

    /// The text of a body, after a check that every cut gives the same.
    private func read(
        _ fields: [(String, String)], _ input: [UInt8], status: Int = 403, limit: Int = 1024,
        sourceLocation: SourceLocation = #_sourceLocation
    ) -> Outcome {
        var head = HTTPHead()
        head.startLine = "HTTP/1.1 \(status) No"
        head.fields = Sample.fields(fields)
        func outcome(_ pieces: [ArraySlice<UInt8>]) -> Outcome {
            var body = ResponseBody(head, limit: limit)
            for piece in pieces { Array(piece).withUnsafeBytes { body.receive($0) } }
            return Outcome(text: body.text, isComplete: body.isComplete)
        }
        let whole = outcome([input[...]])
        for cut in Cut.all(of: input) {
            #expect(outcome(cut.pieces) == whole, "\(cut.description)", sourceLocation: sourceLocation)
        }
        return whole
    }

    private func read(
        _ fields: [(String, String)], _ input: String, status: Int = 403, limit: Int = 1024,
        sourceLocation: SourceLocation = #_sourceLocation
    ) -> Outcome {
        read(fields, Array(input.utf8), status: status, limit: limit, sourceLocation: sourceLocation)
    }

    // MARK: - RFC 9112 section 6.3

    @Test(arguments: [100, 101, 199, 204, 304]) func statusWithoutABody(status: Int) {
        #expect(read([("Content-Length", "2")], "no", status: status) == Outcome(text: "", isComplete: true))
        #expect(read([], "", status: status) == Outcome(text: "", isComplete: true))
    }

    @Test(arguments: [200, 302, 401, 503, 999]) func statusWithABody(status: Int) {
        #expect(read([], "", status: status) == Outcome(text: "", isComplete: false))
        #expect(read([], "no", status: status) == Outcome(text: "no", isComplete: false))
    }

    @Test func withoutALengthItLastsToTheEndOfTheConnection() {
        #expect(read([], "no way") == Outcome(text: "no way", isComplete: false))
    }

    @Test(arguments: [
        ("6", "no way", true), ("7", "no way", false), ("2", "no", true), ("0", "", true), ("00002", "no", true),
        ("6, 6", "no way", true), ("2,2 ,2", "no", true), ("99999999999999999999", "no way", false),
    ])
    func contentLength(length: String, text: String, isComplete: Bool) {
        #expect(read([("Content-Length", length)], "no way") == Outcome(text: text, isComplete: isComplete))
    }

    @Test func anEmptyBodyIsCompleteBeforeAnyByte() {
        #expect(read([("Content-Length", "0")], "") == Outcome(text: "", isComplete: true))
    }

    @Test func equalContentLengthsInTwoFields() {
        let twice = [("Content-Length", "2"), ("content-length", "2")]
        #expect(read(twice, "no way") == Outcome(text: "no", isComplete: true))
    }

    @Test(arguments: ["", "-2", "+2", "2 2", "0x2", "2, 3", "2,", ",", "2;", "٢", "two"])
    func badContentLength(length: String) {
        #expect(read([("Content-Length", length)], "no way") == Outcome(text: "no way", isComplete: false))
    }

    // MARK: - Chunks

    private let chunked = [("Transfer-Encoding", "chunked")]

    @Test(arguments: [
        ("2\r\nno\r\n4\r\n way\r\n0\r\n\r\n", "no way"), ("0\r\n\r\n", ""), ("000\r\n", ""),
        ("00000000000000000000002\r\nno\r\n0\r\n\r\n", "no"),
        ("A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n", "01234567890123456789a"),
        // Extensions, trailers, and bytes after the body.
        ("2;a=b\r\nno\r\n4 ; c=\"d;e\"\r\n way\r\n0;f\r\n\r\n", "no way"), ("2\t\r\nno\r\n0 \r\n\r\n", "no"),
        ("2\r\nno\r\n0\r\nA: b\r\n\r\nmore", "no"),
        // Lines with a bare LF.
        ("2\nno\n0\n\n", "no"),
        // Line ends among the data.
        ("6\r\n\r\n0\r\n\r\r\n0\r\n\r\n", "\r\n0\r\n\r"),
    ])
    func chunks(input: String, text: String) {
        #expect(read(chunked, input) == Outcome(text: text, isComplete: true))
    }

    @Test(arguments: [
        ("", ""), ("2", ""), ("2\r", ""), ("2\r\n", ""), ("2\r\nn", "n"), ("2\r\nno", "no"), ("2\r\nno\r\n", "no"),
        ("2\r\nno\r\n0", "no"), ("2\r\nno\r\n0\r", "no"), ("2;a", ""), ("ffffffffffffffffff\r\nno", "no"),
        ("80000000000000000\r\nno", "no"), ("10000000000000000\r\nno", "no"),
    ])
    func chunksToCome(input: String, text: String) {
        #expect(read(chunked, input) == Outcome(text: text, isComplete: false))
    }

    @Test(arguments: [
        ("no way", ""), ("\r\n2\r\nno\r\n", ""), ("-2\r\nno", ""), (" 2\r\nno", ""), (";2\r\nno", ""),
        ("0x2\r\nno", ""),
        ("2g\r\nno", ""), ("2\r\nno way", "no"), ("2\r\nno\r\n\r\n2\r\nno", "no"), ("2\r\nno\r\nx", "no"),
    ])
    func malformedChunksEndTheBody(input: String, text: String) {
        #expect(read(chunked, input) == Outcome(text: text, isComplete: true))
    }

    @Test(arguments: ["chunked", "Chunked", "gzip, chunked", "gzip,\tCHUNKED "]) func chunkedLast(coding: String) {
        // 6.3: Content-Length is ignored.
        let fields = [("Transfer-Encoding", coding), ("Content-Length", "1")]
        #expect(read(fields, "2\r\nno\r\n0\r\n\r\n") == Outcome(text: "no", isComplete: true))
    }

    @Test(arguments: ["gzip", "chunked, gzip", "", "chunked2"]) func otherCodingLast(coding: String) {
        let fields = [("Transfer-Encoding", coding), ("Content-Length", "1")]
        #expect(read(fields, "2\r\nno") == Outcome(text: "2\r\nno", isComplete: false))
    }

    // MARK: - The limit

    @Test func noMoreThanTheLimit() {
        let yes = Outcome(text: "no", isComplete: true)
        #expect(read([], "no way", limit: 2) == yes)
        #expect(read([("Content-Length", "6")], "no way", limit: 2) == yes)
        #expect(read(chunked, "6\r\nno way\r\n0\r\n\r\n", limit: 2) == yes)
        #expect(read(chunked, "1\r\nn\r\n5\r\no way\r\n0\r\n\r\n", limit: 2) == yes)
        #expect(read([], "no", limit: 2) == yes)
        #expect(read([], "n", limit: 2) == Outcome(text: "n", isComplete: false))
        #expect(read([], "no", limit: 0) == Outcome(text: "", isComplete: true))
    }

    /// Regression: endless framing kept the loop busy for 35 ms in each turn until the time limit for the body.
    @Test(arguments: [("5;", "a"), ("1\r\nx", "\r"), ("", "0")]) func framingWithoutEndEndsTheBody(
        begin: String, rest: String
    ) {
        let text = begin.hasSuffix("x") ? "x" : ""
        let input = begin + String(repeating: rest, count: 65536 - begin.utf8.count)
        #expect(read(chunked, String(input.dropLast())) == Outcome(text: text, isComplete: false))
        #expect(read(chunked, input) == Outcome(text: text, isComplete: true))
    }

    @Test func theLimitCutsNoCharacter() {
        // 1, 2, 3 and 4 bytes.
        let text = "aé✓😀"
        let whole = ["", "a", "a", "aé", "aé", "aé", "aé✓", "aé✓", "aé✓", "aé✓", "aé✓😀"]
        for (limit, expected) in whole.enumerated() {
            #expect(read([], text, limit: limit) == Outcome(text: expected, isComplete: true), "\(limit)")
        }
    }

    @Test func whatIsNotUTF8IsReplaced() {
        #expect(read([], [0x61, 0xFF, 0x62]).text == "a\u{FFFD}b")
        #expect(read([], [0x61, 0xFF, 0x62], limit: 3).text == "a\u{FFFD}b")
        #expect(read([], [0x80, 0x80, 0x80, 0x80], limit: 4).text == "\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}")
        // A character cut by the end of the connection, not by the limit.
        #expect(read([], [0x61, 0xC3]).text == "a\u{FFFD}")
    }
}
