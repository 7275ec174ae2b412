import TestSupport
import Testing

@testable import WebSocketProtocol

@Suite struct HTTPResponseTests {
    private func response(
        _ status: Int, _ headers: [(String, String)] = [], _ body: String = ""
    ) throws -> HTTPResponse {
        try HTTPResponse(status: status, headers: Sample.fields(headers), body: Array(body.utf8))
    }

    @Test func aPage() throws {
        let page = try response(200, [("Content-Type", "text/html"), ("Set-Cookie", "a"), ("Set-Cookie", "b")], "<p>é")
        let head = """
            HTTP/1.1 200 OK\r
            Content-Type: text/html\r
            Set-Cookie: a\r
            Set-Cookie: b\r
            Content-Length: 5\r
            Connection: close\r
            \r\n
            """
        #expect(page.text() == head + "<p>é")
        #expect(page.text(method: "POST") == head + "<p>é")
        #expect(page.text(method: nil) == head + "<p>é")
        // RFC 9110 section 9.3.2.
        #expect(page.text(method: "HEAD") == head)
    }

    @Test func withoutABody() throws {
        #expect(try response(404).text() == "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    }

    @Test func bodiesOfAnyBytes() throws {
        var output = ByteBuffer()
        let response = try HTTPResponse(status: 200, body: [0x00, 0xFF, 0x0D, 0x0A])
        #expect(response.append(to: &output, method: "GET"))
        #expect(output.array.suffix(8) == [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0xFF, 0x0D, 0x0A])
    }

    /// RFC 9110 sections 8.6, 15.3.5, 15.3.6 and 15.4.5.
    @Test(arguments: [
        (204, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"),
        (205, "HTTP/1.1 205 \r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        (304, "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"),
    ])
    func statusesWithoutABody(status: Int, text: String) throws {
        #expect(try response(status, [], "body").text() == text)
        #expect(try response(status).text() == text)
    }

    @Test(arguments: [
        201, 202, 204, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 409, 410, 414, 426, 429, 431, 500, 501,
        503,
        505,
    ]) func aReasonPhrase(status: Int) throws {
        #expect(try response(status).head.status == status)
        #expect(try response(status).head.reasonPhrase != "")
    }

    @Test(arguments: [299, 599]) func otherStatusesNeedNone(status: Int) throws {
        #expect(try response(status).head.startLine == "HTTP/1.1 \(status) ")
        #expect(try response(status).head.status == status)
    }

    @Test(arguments: [-1, 0, 100, 101, 103, 199, 600, 1000, Int.min, Int.max]) func impossibleStatus(status: Int) {
        #expect(throws: AnswerFailure("its status is \(status), not a number from 200 to 599")) { try response(status) }
    }

    @Test(arguments: [
        ("a b", "x", "it has a header whose name is not a token: 'a b'"),
        ("", "x", "it has a header whose name is not a token: ''"),
        ("a\r\nb", "x", "it has a header whose name is not a token: 'a??b'"),
        ("A", "x\r\nSet-Cookie: a", "it has a control character in the header 'A'"),
        ("A", "\n", "it has a control character in the header 'A'"),
        ("A", "\u{0}", "it has a control character in the header 'A'"),
        ("Content-Length", "3", "it sets the header 'Content-Length', which belongs to the server"),
        ("transfer-encoding", "chunked", "it sets the header 'transfer-encoding', which belongs to the server"),
        ("CONNECTION", "keep-alive", "it sets the header 'CONNECTION', which belongs to the server"),
        ("Upgrade", "h2c", "it sets the header 'Upgrade', which belongs to the server"),
        ("Sec-WebSocket-Accept", "x", "it sets the header 'Sec-WebSocket-Accept', which belongs to the server"),
    ])
    func refusedHeader(name: String, value: String, reason: String) {
        #expect(throws: AnswerFailure(reason)) { try response(200, [("X", "1"), (name, value)]) }
    }

    @Test(.enabled(if: canExhaustMemory)) func outOfMemory() async {
        await #expect(processExitsWith: .success) {
            let response = try? HTTPResponse(status: 200, body: [UInt8](repeating: 0, count: 1 << 20))
            var output = ByteBuffer()
            // Room for the head only.
            output.reserve(4096)
            let fits = withoutMemory { response?.append(to: &output, method: "GET") }
            #expect(fits == false)
        }
    }

    // MARK: - Refusals

    @Test func aRefusal() {
        let body = "400 Bad Request: the request has no Host field\n"
        #expect(
            RequestRefusal.badRequest("the request has no Host field").response.text() == """
                HTTP/1.1 400 Bad Request\r
                Content-Type: text/plain; charset=utf-8\r
                Content-Length: \(body.utf8.count)\r
                Connection: close\r
                \r
                \(body)
                """)
    }

    @Test func aRefusalNamesTheProtocol() {
        #expect(
            RequestRefusal.upgradeRequired("x").response.text() == """
                HTTP/1.1 426 Upgrade Required\r
                Upgrade: websocket\r
                Sec-WebSocket-Version: 13\r
                Content-Type: text/plain; charset=utf-8\r
                Content-Length: 24\r
                Connection: close, Upgrade\r
                \r
                426 Upgrade Required: x

                """)
    }

    @Test func noAnswer() {
        #expect(RequestRefusal.noAnswer.response.text().hasPrefix("HTTP/1.1 500 Internal Server Error\r\n"))
    }
}
