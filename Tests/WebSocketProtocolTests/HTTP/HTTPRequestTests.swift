import Testing

@testable import WebSocketProtocol

@Suite struct HTTPRequestTests {
    private func request(_ line: String, _ fields: String = "Host: h\r\n") throws -> HTTPRequest {
        try RequestVerifier.request("\(line)\r\n\(fields)\r\n")
    }

    // MARK: - The target (RFC 9112 section 3.2)

    @Test(
        arguments: [
            ("/", "/", nil), ("/a/b", "/a/b", nil), ("/a?", "/a", ""), ("/a?b=c?d", "/a", "b=c?d"), ("/?x", "/", "x"),
            ("//evil/a", "//evil/a", nil), ("/a/../b", "/a/../b", nil), ("/%00%zz", "/%00%zz", nil),
            ("/a:b@c", "/a:b@c", nil),
            ("http://other/a?b", "/a", "b"), ("ws://other", "/", nil), ("WSS://other?b", "/", "b"),
            ("https://[::1]:8080/a", "/a", nil),
        ] as [(String, String, String?)])
    func target(text: String, path: String, query: String?) throws {
        let request = try request("GET \(text) HTTP/1.1")
        #expect(request.target == text)
        #expect(request.path == path)
        #expect(request.query == query)
    }

    @Test func theServerItself() throws {
        let request = try request("OPTIONS * HTTP/1.1")
        #expect(request.method == "OPTIONS")
        #expect(request.path == "*")
        #expect(request.query == nil)
    }

    // MARK: - Host and URL

    @Test(arguments: [
        ("/a?b", "Host: Example.COM\r\n", "ws://example.com/a?b"), ("/", "Host: h:81\r\n", "ws://h:81/"),
        ("/", "Host: [::1]:81\r\n", "ws://[::1]:81/"), ("/", "Host: h:\r\n", "ws://h/"),
        // 3.2.2: the URL counts.
        ("http://other:8080/a", "Host: h\r\n", "ws://other:8080/a"),
    ])
    func url(target: String, fields: String, url: String) throws {
        let request = try request("GET \(target) HTTP/1.1", fields)
        #expect(request.url(isSecure: false) == url)
        #expect(request.url(isSecure: true) == "wss" + url.dropFirst(2))
    }

    @Test func anOldRequestNeedsNoHost() throws {
        #expect(try request("GET /a HTTP/1.0", "").url(isSecure: false) == "ws:///a")
    }

    // MARK: - The body

    @Test(arguments: [
        ("", false), ("Content-Length: 0\r\n", false), ("Content-Length: 000\r\n", false),
        ("Content-Length: 1\r\n", true),
        ("Content-Length: 010\r\n", true), ("Content-Length: 99999999999999999999\r\n", true),
        ("Transfer-Encoding: chunked\r\n", true), ("transfer-encoding: CHUNKED\r\n", true),
    ])
    func body(field: String, hasBody: Bool) throws {
        #expect(try request("POST / HTTP/1.1", "Host: h\r\n" + field).hasBody == hasBody)
    }

    // MARK: - Fields

    @Test func fieldsOfTheHandshake() throws {
        let request = try request(
            "GET / HTTP/1.1",
            "Host: h\r\nOrigin: http://o\r\nSec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Protocol: ,c\r\n")
        #expect(request.subprotocols == ["a", "b", "c"])
        #expect(request.origin == "http://o")
        #expect(try self.request("GET / HTTP/1.1").origin == nil)
    }

    @Test func redacted() throws {
        let request = try request(
            "GET ws://h/a?token=secret HTTP/1.1",
            "Host: h\r\nCookie: secret\r\nSec-WebSocket-Key: secret\r\nOrigin: http://o\r\n")
        #expect(
            request.head.redactedLines == [
                "GET ws://h/a?… HTTP/1.1", "Host: h", "Cookie: …", "Sec-WebSocket-Key: …", "Origin: http://o",
            ])
    }
}
