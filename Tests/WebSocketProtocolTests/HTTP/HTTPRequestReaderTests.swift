import TestSupport
import Testing

@testable import WebSocketProtocol

@Suite struct HTTPRequestReaderTests {
    @Test func aWholeRequest() throws {
        let request = try RequestVerifier.request(
            "GET /chat?a=b HTTP/1.1\r\nHost: h:81\r\nX-Empty:\r\nX-Two: \t a, é \t\r\nOrigin:http://o\r\n\r\n")
        #expect(request.method == "GET")
        #expect(request.target == "/chat?a=b")
        #expect(
            request.fields
                == Sample.fields([("Host", "h:81"), ("X-Empty", ""), ("X-Two", "a, é"), ("Origin", "http://o")]))
    }

    /// RFC 9112 section 2.2.
    @Test func emptyLinesBeforeTheRequestLine() throws {
        #expect(try RequestVerifier.request("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").path == "/")
    }

    /// A client may send frames before it has the response, and bytes of a second request.
    @Test(arguments: ["\u{1}\u{2}", "GET /2 HTTP/1.1\r\n\r\n", "\n"]) func bytesBehindTheRequestAreLeft(more: String)
        throws
    {
        let head = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
        var reader = HTTPRequestReader()
        let (request, consumed) = try #require(try reader.read(Array((head + more).utf8)[...]))
        #expect(request.path == "/")
        #expect(consumed == head.utf8.count)
    }

    @Test func moreIsAwaitedBeforeTheEmptyLine() throws {
        var reader = HTTPRequestReader()
        for piece in ["\r", "\n", "G", "ET / HTTP/1.1", "\r", "\n", "Host: h\r\n", "\r", ""] {
            let request = try reader.read(Array(piece.utf8)[...])
            #expect(request == nil)
        }
    }

    // MARK: - Hostile requests

    /// Each is refused, and by the same words in every cut. A proxy may let any of them through.
    @Test(arguments: [
        // The request line.
        ("GET /\r\n", "400 the request line is not a method, a target and a version"),
        ("GET\r\n", "400 the request line is not a method, a target and a version"),
        ("GET  / HTTP/1.1\r\n", "400 the request line is not a method, a target and a version"),
        ("GET / HTTP/1.1 \r\n", "400 the request line is not a method, a target and a version"),
        ("GET /a b HTTP/1.1\r\n", "400 the request line is not a method, a target and a version"),
        ("G(T / HTTP/1.1\r\n", "400 the request line is not a method, a target and a version"),
        ("GET\t/\tHTTP/1.1\r\n", "400 the request line is not a method, a target and a version"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "400 the request line is not a method, a target and a version"),
        ("GET / http/1.1\r\n", "400 the request line does not end with HTTP/1.1"),
        ("GET / HTTP/1.10\r\n", "400 the request line does not end with HTTP/1.1"),
        ("GET / HTTP/1\r\n", "400 the request line does not end with HTTP/1.1"),
        ("GET / HTTP/1,1\r\n", "400 the request line does not end with HTTP/1.1"),
        ("GET / HTTP/1.x\r\n", "400 the request line does not end with HTTP/1.1"),
        ("GET / \r\n", "400 the request line does not end with HTTP/1.1"),
        ("GET / HTTP/0.9\r\n", "505 the request is HTTP/0.9, and this server speaks HTTP/1.1"),
        ("GET / HTTP/1.2\r\n", "505 the request is HTTP/1.2, and this server speaks HTTP/1.1"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 the request is HTTP/2.0, and this server speaks HTTP/1.1"),
        // The target.
        ("GET  HTTP/1.1\r\n", "400 the target of the request is neither a path nor a URL with a host"),
        ("GET * HTTP/1.1\r\n", "400 the target of the request is neither a path nor a URL with a host"),
        ("OPTIONS *x HTTP/1.1\r\n", "400 the target of the request is neither a path nor a URL with a host"),
        ("GET chat HTTP/1.1\r\n", "400 the target of the request is neither a path nor a URL with a host"),
        ("GET h:80 HTTP/1.1\r\n", "400 the target of the request is neither a path nor a URL with a host"),
        ("GET ftp://h/ HTTP/1.1\r\n", "400 the target of the request is neither a path nor a URL with a host"),
        ("GET http:/h HTTP/1.1\r\n", "400 the target of the request is neither a path nor a URL with a host"),
        ("GET http:///x HTTP/1.1\r\n", "400 the target of the request is neither a path nor a URL with a host"),
        ("GET http://u@h/ HTTP/1.1\r\n", "400 the target of the request is neither a path nor a URL with a host"),
        ("GET http://h:0/ HTTP/1.1\r\n", "400 the target of the request is neither a path nor a URL with a host"),
        ("CONNECT h:80 HTTP/1.1\r\n", "400 CONNECT is for proxies, and this is none"),
        ("GET /#x HTTP/1.1\r\n", "400 the target of the request has a byte that must be written as a %-escape"),
        ("GET /é HTTP/1.1\r\n", "400 the target of the request has a byte that must be written as a %-escape"),
        ("GET /\t HTTP/1.1\r\n", "400 the target of the request has a byte that must be written as a %-escape"),
        // Line ends, white space, control characters.
        ("GET / HTTP/1.1\nHost: h\r\n", "400 a line of the request ends with LF, not with CR LF"),
        ("GET / HTTP/1.1\r\nHost: h\n", "400 a line of the request ends with LF, not with CR LF"),
        ("GET / HTTP/1.1\r\nHost: h\r\n\n", "400 a line of the request ends with LF, not with CR LF"),
        ("\nGET / HTTP/1.1\r\n", "400 a line of the request ends with LF, not with CR LF"),
        ("GET / HTTP/1.1\r\nHost: h\r\n folded: 1\r\n", "400 a line of the request begins with white space"),
        ("GET / HTTP/1.1\r\n\tHost: h\r\n", "400 a line of the request begins with white space"),
        ("GET / HTTP/1.1\r\nHost: h\r\n \r\n", "400 a line of the request begins with white space"),
        ("GET / HTTP/1.1\r\nHost : h\r\n", "400 a field of the request has white space before its colon"),
        ("GET / HTTP/1.1\r\nHost\t: h\r\n", "400 a field of the request has white space before its colon"),
        ("GET / HTTP/1.1\r\nHost: a\rb\r\n", "400 the head of the request has a control character"),
        ("GET / HTTP/1.1\r\nHost: h\r\r\n", "400 the head of the request has a control character"),
        ("GET / HTTP/1.1\r\nA: \u{0}\r\n", "400 the head of the request has a control character"),
        ("GET / HTTP/1.1\r\nA\u{7F}: \r\n", "400 the head of the request has a control character"),
        ("GET /\u{1B} HTTP/1.1\r\n", "400 the head of the request has a control character"),
        ("\r\rGET / HTTP/1.1\r\n", "400 the head of the request has a control character"),
        ("GET / HTTP/1.1\r\nHost\r\n", "400 a line of the request has no colon"),
        ("GET / HTTP/1.1\r\n: h\r\n", "400 a field of the request has a malformed name"),
        ("GET / HTTP/1.1\r\nA b: h\r\n", "400 a field of the request has a malformed name"),
        ("GET / HTTP/1.1\r\né: h\r\n", "400 a field of the request has a malformed name"),
    ])
    func refusedLine(text: String, refusal: String) {
        #expect(RequestVerifier.refusal(text) == refusal)
        // The rest of the request does not matter.
        #expect(RequestVerifier.refusal(text + "Host: h\r\n\r\n") == refusal)
    }

    /// Checked when the head is whole.
    @Test(arguments: [
        ("", "400 the request has no Host field"),
        ("Host: a\r\nHost: a", "400 the request has more than one Host field"),
        ("Host: a\r\nhost: b", "400 the request has more than one Host field"),
        ("Host:", "400 the Host field of the request is not a host"),
        ("Host: a b", "400 the Host field of the request is not a host"),
        ("Host: a, b", "400 the Host field of the request is not a host"),
        ("Host: a/b", "400 the Host field of the request is not a host"),
        ("Host: u@a", "400 the Host field of the request is not a host"),
        ("Host: a:x", "400 the Host field of the request is not a host"),
        ("Host: ::1", "400 the Host field of the request is not a host"),
        ("Host: é", "400 the Host field of the request is not a host"),
        (
            "Host: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
            "400 the request has both Transfer-Encoding and Content-Length"
        ),
        (
            "Host: h\r\nTransfer-Encoding:\r\nContent-Length: 0",
            "400 the request has both Transfer-Encoding and Content-Length"
        ),
        (
            "Host: h\r\nContent-Length: 1\r\nContent-Length: 1",
            "400 the request has more than one Content-Length field"
        ),
        ("Host: h\r\nContent-Length: 1, 1", "400 the Content-Length of the request is not a number"),
        ("Host: h\r\nContent-Length:", "400 the Content-Length of the request is not a number"),
        ("Host: h\r\nContent-Length: +1", "400 the Content-Length of the request is not a number"),
        ("Host: h\r\nContent-Length: -1", "400 the Content-Length of the request is not a number"),
        ("Host: h\r\nContent-Length: 0x1", "400 the Content-Length of the request is not a number"),
        ("Host: h\r\nContent-Length: ١", "400 the Content-Length of the request is not a number"),
        ("Host: h\r\nTransfer-Encoding: gzip", "400 the Transfer-Encoding of the request is not chunked alone"),
        ("Host: h\r\nTransfer-Encoding:", "400 the Transfer-Encoding of the request is not chunked alone"),
        (
            "Host: h\r\nTransfer-Encoding: gzip, chunked",
            "400 the Transfer-Encoding of the request is not chunked alone"
        ),
        (
            "Host: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "400 the Transfer-Encoding of the request is not chunked alone"
        ),
        ("Host: h\r\nTransfer-Encoding: \u{B}chunked", "400 the head of the request has a control character"),
        (
            "Host: h\r\nTransfer-Encoding: chun\u{212A}ed",
            "400 the Transfer-Encoding of the request is not chunked alone"
        ),
    ])
    func refusedFields(fields: String, refusal: String) {
        #expect(RequestVerifier.refusal("POST / HTTP/1.1\r\n\(fields)\(fields.isEmpty ? "" : "\r\n")\r\n") == refusal)
    }

    @Test func transferEncodingIsUnknownToHTTP10() {
        #expect(
            RequestVerifier.refusal("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n")
                == "400 the Transfer-Encoding of the request is not chunked alone")
    }

    /// The client waits for an answer: no more bytes may ever come.
    @Test(arguments: [
        ([0x16], "400 the client speaks TLS to a port without TLS"),
        ([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00], "400 the client speaks TLS to a port without TLS"),
        ([0x0D, 0x0A, 0x16], "400 the client speaks TLS to a port without TLS"),
        ([0x80, 0x2E, 0x01], "400 the request is not HTTP"), ([0x00], "400 the request is not HTTP"),
        (Array(" GET".utf8), "400 the request is not HTTP"), (Array("<?xml".utf8), "400 the request is not HTTP"),
        ([0x82, 0x80], "400 the request is not HTTP"),
    ])
    func otherProtocolsAreRefusedAtOnce(bytes: [UInt8], refusal: String) {
        #expect(RequestVerifier.refusal(bytes) == refusal)
        var reader = HTTPRequestReader()
        var reason: String?
        do throws(RequestRefusal) { _ = try reader.read(bytes[...]) } catch {
            reason = "\(error.status) \(error.reason)"
        }
        #expect(reason == refusal)
    }

    // MARK: - Limits

    @Test func aHeadHasAtMost64KiB() throws {
        let frame = "GET / HTTP/1.1\r\nHost: h\r\nA: \r\n\r\n".utf8.count
        let value = String(repeating: "v", count: 65536 - frame)
        #expect(try RequestVerifier.request("GET / HTTP/1.1\r\nHost: h\r\nA: \(value)\r\n\r\n").fields["A"] == value)
        let reason = "431 the head of the request is larger than 65536 bytes"
        #expect(RequestVerifier.refusal("GET / HTTP/1.1\r\nHost: h\r\nA: \(value)v\r\n\r\n") == reason)
        #expect(RequestVerifier.refusal("GET / HTTP/1.1\r\nA: \(value)\(value)") == reason)
        #expect(
            RequestVerifier.refusal("GET / HTTP/1.1\r\nA:" + String(repeating: "1\r\nA:", count: 100) + value) == reason
        )
    }

    @Test func aRequestLineHasAtMost64KiB() {
        let reason = "414 the request line is longer than 65536 bytes"
        #expect(RequestVerifier.refusal("GET /" + String(repeating: "a", count: 70_000)) == reason)
        #expect(RequestVerifier.refusal("GET /" + String(repeating: "a", count: 70_000) + " HTTP/1.1\r\n") == reason)
        #expect(RequestVerifier.refusal(String(repeating: "\r\n", count: 35_000)) == reason)
    }

    @Test func fieldsUpTo256() throws {
        let fields = "Host: h\r\n" + (2...256).map { "F\($0): \($0)\r\n" }.joined()
        #expect(try RequestVerifier.request("GET / HTTP/1.1\r\n\(fields)\r\n").fields.fields.count == 256)
        #expect(
            RequestVerifier.refusal("GET / HTTP/1.1\r\n\(fields)G: 1\r\n\r\n")
                == "431 the request has more than 256 fields")
    }

    @Test(.enabled(if: canExhaustMemory)) func outOfMemoryForALine() async {
        await #expect(processExitsWith: .success) {
            var reader = HTTPRequestReader()
            let line = ByteBuffer(Array(("GET /" + String(repeating: "x", count: 20_000)).utf8))
            let status = withoutMemory { () -> Int? in
                do throws(RequestRefusal) {
                    _ = try reader.read(UnsafeRawBufferPointer(line.bytes))
                    return nil
                } catch {
                    return error.status
                }
            }
            #expect(status == 503)
        }
    }
}
