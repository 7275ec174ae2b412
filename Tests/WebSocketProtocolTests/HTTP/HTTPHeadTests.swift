import TestSupport
import Testing

@testable import WebSocketProtocol

@Suite struct HTTPHeadTests {
    @Test func aWholeHead() throws {
        let head = try HeadVerifier.head(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nX-Empty:\r\nX-Two: a, b \r\n\r\n")
        #expect(head.startLine == "HTTP/1.1 101 Switching Protocols")
        #expect(head.fields == Sample.fields([("Upgrade", "websocket"), ("X-Empty", ""), ("X-Two", "a, b")]))
        #expect(head.status == 101)
        #expect(head.reasonPhrase == "Switching Protocols")
    }

    @Test func theTextOfAHead() throws {
        let text = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nX-Empty: \r\nX: a\r\nX: b\r\n\r\n"
        #expect(try HeadVerifier.head(text).text == text)
    }

    @Test func aBareLineFeedEndsALine() throws {
        let head = try HeadVerifier.head("HTTP/1.1 200 OK\nA: 1\r\nB: 2\n\n")
        #expect(head.status == 200)
        #expect(head.fields == Sample.fields([("A", "1"), ("B", "2")]))
    }

    @Test func noFields() throws {
        #expect(try HeadVerifier.head("HTTP/1.1 204 No Content\r\n\r\n").fields == HeaderFields())
    }

    @Test func emptyLinesBeforeTheStartLine() throws {
        #expect(try HeadVerifier.head("\r\n\n\r\nHTTP/1.1 101 x\r\n\r\n").startLine == "HTTP/1.1 101 x")
    }

    @Test func whiteSpaceAroundAValue() throws {
        let head = try HeadVerifier.head("HTTP/1.1 101 x\r\nA: \t 1 2\t \r\nB:3\r\nC:  \r\n\r\n")
        #expect(head.fields == Sample.fields([("A", "1 2"), ("B", "3"), ("C", "")]))
    }

    /// RFC 9112 section 5.2.
    @Test(arguments: [
        ("A: 1\r\n 2", "1 2"), ("A: 1 \t\r\n\t 2 \r\n  3", "1 2 3"), ("A: 1\n B: 2", "1 B: 2"), ("A:\r\n 1", "1"),
        ("A: 1\r\n \r\n\t\r\n 2", "1 2"), ("A: 1\r\n ", "1"), ("A: é\r\n é", "é é"),
    ])
    func foldedLinesBecomeOne(lines: String, value: String) throws {
        let head = try HeadVerifier.head("HTTP/1.1 101 x\r\nZ: 0\r\n\(lines)\r\nC: 3\r\n\r\n")
        #expect(head.fields == Sample.fields([("Z", "0"), ("A", value), ("C", "3")]))
    }

    @Test func valuesMayHaveColonsTabsAndAnyByteAbove7F() throws {
        let bytes = Array("HTTP/1.1 101 x\r\nA: b:c\td é \r\nB: ".utf8) + [0xE9, 0x0D, 0x0A, 0x0D, 0x0A]
        let head = try HeadVerifier.verify(bytes).get()
        #expect(head.fields == Sample.fields([("A", "b:c\td é"), ("B", "\u{FFFD}")]))
    }

    @Test func aHeadIsNotWholeBeforeTheEmptyLine() {
        #expect(HeadVerifier.failure("HTTP/1.1 101 x\r\nA: 1\r\n\u{81}") != nil)
        var parser = HTTPHeadParser()
        for line in ["HTTP/1.1 101 x\r\n", "A: 1\r\n", ""] {
            let parsed = try? parser.parse(Array(line.utf8)[...])
            #expect(parsed == nil)
        }
    }

    // MARK: - Refused

    @Test(arguments: [
        "200 OK\r\n\r\n", "\u{16}\u{3}\u{1}\r\n\r\n", "<html>\r\n\r\n", "http/1.1 101 x\r\n\r\n",
        " HTTP/1.1 101 x\r\n\r\n", "\r\n\u{0}", "\r\rHTTP/1.1 101 x\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "HTTP\r\n\r\n",
    ])
    func notHTTP(text: String) {
        #expect(HeadVerifier.failure(text) == "its answer is not HTTP")
    }

    /// No more bytes may ever come.
    @Test(arguments: [
        "\u{15}", "\r\u{15}", "\r\r", "S", "RFB 003.008\n", "\r\nSSH-2.0-OpenSSH_9.2p1", "HE", "HTTP1", "\rHTTP/1.1",
        "HTTP\r",
    ])
    func otherProtocolsFailAtOnce(text: String) throws {
        var whole = HTTPHeadParser()
        #expect(throws: HandshakeFailure.invalidResponse("its answer is not HTTP")) {
            try whole.parse(Array(text.utf8)[...])
        }
        var slow = HTTPHeadParser()
        #expect(throws: HandshakeFailure.invalidResponse("its answer is not HTTP")) {
            for byte in text.utf8 { _ = try slow.parse([byte]) }
        }
    }

    @Test(arguments: ["H", "HTTP/", "\r", "\r\nHTT", "HTTP/1"]) func moreIsAwaitedOfAStartLine(text: String) throws {
        var parser = HTTPHeadParser()
        let parsed = try parser.parse(Array(text.utf8)[...])
        #expect(parsed == nil)
    }

    /// RFC 9112 section 2.2: white space between the start line and the first field.
    @Test(arguments: [" a", "\ta", " ", " A: 1"]) func whiteSpaceBeforeTheFirstField(line: String) {
        #expect(
            HeadVerifier.failure("HTTP/1.1 101 x\r\n\(line)\r\n\r\n")
                == "the head of its answer has white space before its first field")
    }

    @Test(arguments: ["\u{0}", "\u{1}", "\u{8}", "\u{B}", "\r", "\u{1B}", "\u{1F}", "\u{7F}"])
    func controlCharacter(control: String) {
        let reason = "the head of its answer has a control character"
        #expect(HeadVerifier.failure("HTTP/1.1 101 x\r\nA: b\(control)c\r\n\r\n") == reason)
        #expect(HeadVerifier.failure("HTTP/1.1 101 x\r\nA\(control): b\r\n\r\n") == reason)
        #expect(HeadVerifier.failure("HTTP/1.1 101 \(control)x\r\n\r\n") == reason)
        #expect(HeadVerifier.failure("HTTP/1.1 101 x\r\nA: b\r\n \(control)c\r\n\r\n") == reason)
    }

    @Test(arguments: ["A", "A b", "é"]) func lineWithoutAColon(line: String) {
        #expect(
            HeadVerifier.failure("HTTP/1.1 101 x\r\n\(line)\r\n\r\n")
                == "the head of its answer has a line without a colon")
    }

    @Test(arguments: ["A : 1", ": 1", "A b: 1", "é: 1", "A(b): 1", "\"A\": 1"]) func malformedName(line: String) {
        #expect(
            HeadVerifier.failure("HTTP/1.1 101 x\r\n\(line)\r\n\r\n")
                == "the head of its answer has a field with a malformed name")
    }

    // MARK: - Limits

    @Test func aHeadHasAtMost64KiB() throws {
        let frame = "HTTP/1.1 101 x\r\nA: \r\n\r\n".utf8.count
        let value = String(repeating: "v", count: 65536 - frame)
        #expect(try HeadVerifier.head("HTTP/1.1 101 x\r\nA: \(value)\r\n\r\n").fields["A"] == value)
        let reason = "the head of its answer is larger than 65536 bytes"
        #expect(HeadVerifier.failure("HTTP/1.1 101 x\r\nA: \(value)v\r\n\r\n") == reason)
        // In folded lines, in one endless line, before a line is whole, and in empty lines.
        #expect(HeadVerifier.failure("HTTP/1.1 101 x\r\nA: b" + String(repeating: "\r\n c", count: 20_000)) == reason)
        #expect(HeadVerifier.failure("HTTP/1.1 101 x\r\nA: " + value + value) == reason)
        #expect(HeadVerifier.failure("HTTP/" + String(repeating: "H", count: 70_000)) == reason)
        #expect(HeadVerifier.failure(String(repeating: "\n", count: 70_000)) == reason)
    }

    /// Python's websockets takes 128 fields, Node 2000; Chromium, Firefox and Go count bytes only.
    @Test func fieldsUpTo256() throws {
        let fields = (1...256).map { "F\($0): \($0)\r\n" }.joined()
        #expect(try HeadVerifier.head("HTTP/1.1 101 x\r\n\(fields)\r\n").fields.fields.count == 256)
        #expect(
            HeadVerifier.failure("HTTP/1.1 101 x\r\n\(fields)G: 1\r\n\r\n")
                == "the head of its answer has more than 256 fields")
    }

    // MARK: - Interim answers

    /// RFC 9110 section 15.2. Browsers, Go and Node skip interim answers too.
    @Test(arguments: [
        "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102\n\n",
        "HTTP/1.0 199 x\r\nA: 1\r\n 2\r\n\r\n\r\n\r\n",
    ])
    func interimAnswersAreSkipped(interim: String) throws {
        let head = try HeadVerifier.head(interim + "HTTP/1.1 404 No\r\nB: 2\r\n\r\n")
        #expect(head.startLine == "HTTP/1.1 404 No")
        #expect(head.fields == Sample.fields([("B", "2")]))
    }

    @Test(arguments: [
        ("HTTP/1.1 100 x\r\n\r\nSSH-2.0-x\r\n", "its answer is not HTTP"),
        ("HTTP/1.1 100 x\r\n\r\n A: 1\r\n", "its answer is not HTTP"),
        ("HTTP/1.1 100 x\r\nA\r\n\r\n", "the head of its answer has a line without a colon"),
    ])
    func interimAnswersAreCheckedToo(text: String, reason: String) {
        #expect(HeadVerifier.failure(text) == reason)
    }

    /// Go's net/http once took 5 interim responses, now as many as fit into the limit for one head; quic-go takes 5.
    @Test func endlessInterimAnswersAreRefused() throws {
        let interim = String(repeating: "HTTP/1.1 100 Continue\r\n\r\n", count: 32)
        #expect(try HeadVerifier.head(interim + "HTTP/1.1 101 x\r\n\r\n").status == 101)
        #expect(
            HeadVerifier.failure(interim + "HTTP/1.1 103 x\r\n\r\nHTTP/1.1 101 x\r\n\r\n")
                == "it sent more than 32 interim answers")
    }

    @Test func interimAnswersAndTheAnswerShareOneLimitOfBytes() throws {
        let value = String(repeating: "v", count: 32_730)
        let interim = "HTTP/1.1 103 x\r\nA: \(value)\r\n\r\n"
        #expect(try HeadVerifier.head(interim + "HTTP/1.1 101 x\r\nA: \(value)\r\n\r\n").status == 101)
        #expect(
            HeadVerifier.failure(interim + "HTTP/1.1 101 x\r\nA: \(value)\(value.prefix(100))\r\n\r\n")
                == "the head of its answer is larger than 65536 bytes, interim answers included")
    }

    /// Regression: the line went on without the bytes that could not be stored.
    @Test(.enabled(if: canExhaustMemory)) func outOfMemoryForALine() async {
        await #expect(processExitsWith: .success) {
            var parser = HTTPHeadParser()
            let line = ByteBuffer(Array(("HTTP/1.1 101 " + String(repeating: "x", count: 20_000)).utf8))
            let reason = withoutMemory { () -> String? in
                do throws(HandshakeFailure) {
                    _ = try parser.parse(UnsafeRawBufferPointer(line.bytes))
                    return nil
                } catch {
                    return error.reason
                }
            }
            #expect(reason == "out of memory for the head of its answer")
        }
    }

    // MARK: - Status line

    @Test(arguments: [
        ("HTTP/1.1 101 Switching Protocols", 101, "Switching Protocols"), ("HTTP/1.0 200 OK", 200, "OK"),
        ("HTTP/1.1 404", 404, ""), ("HTTP/1.1 999 ", 999, ""), ("HTTP/1.1 100  two  spaces", 100, " two  spaces"),
    ])
    func status(line: String, status: Int, phrase: String) {
        var head = HTTPHead()
        head.startLine = line
        #expect(head.status == status)
        #expect(head.reasonPhrase == phrase)
    }

    @Test(arguments: [
        "", "HTTP/1.1", "HTTP/1.1 ", "HTTP/2 101 x", "HTTP/1.2 101 x", "http/1.1 101 x", "HTTP/1.1  101 x",
        "HTTP/1.1 10 x", "HTTP/1.1 1010 x", "HTTP/1.1 +10 x", "HTTP/1.1 099 x", "HTTP/1.1 1O1 x", "HTTP/1.1 ١٠١ x",
        "HTTP/1.1\t101 x", "GET / HTTP/1.1",
    ])
    func noStatusLine(line: String) {
        var head = HTTPHead()
        head.startLine = line
        #expect(head.status == nil)
    }

    @Test(arguments: [
        (100, true, false), (101, false, false), (103, true, false), (199, true, false), (200, false, false),
        (300, false, false), (301, false, true), (302, false, true), (303, false, true), (304, false, false),
        (307, false, true), (308, false, true), (404, false, false),
    ])
    func kind(status: Int, isInterim: Bool, isRedirect: Bool) {
        var head = HTTPHead()
        head.startLine = "HTTP/1.1 \(status) x"
        #expect(head.isInterim == isInterim)
        #expect(head.isRedirect == isRedirect)
    }

    @Test func withoutAStatusItIsNeither() { #expect(!HTTPHead().isInterim && !HTTPHead().isRedirect) }
}
