import Testing

@testable import WebSocketProtocol

@Suite struct RedactionTests {
    /// A redacted field, which must be the same in a request and in a response.
    private func field(_ name: String, _ value: String) -> String? {
        var head = HTTPHead()
        head.startLine = "HTTP/1.1 302 Found"
        head.fields.append(name, value)
        let response = head.redactedLines
        let request = redactedLines(ofRequest: "GET / HTTP/1.1\r\n\(name): \(value)\r\n\r\n")
        #expect(response.count == 2 && request.count == 2 && response.last == request.last)
        return response.last
    }

    private func startLine(_ line: String) -> String? {
        var head = HTTPHead()
        head.startLine = line
        let lines = redactedLines(ofRequest: "\(line)\r\n\r\n")
        #expect(head.redactedLines == lines)
        return lines.first
    }

    @Test func aWholeRequest() throws {
        let handshake = try Sample.handshake(
            url: "wss://user:secret@h:8443/path?token=secret",
            headers: [("Cookie", "a=secret"), ("X-Api-Key", "secret"), ("Origin", "https://o")],
            subprotocols: ["chat", "s3cret"], deflate: DeflateParameters())
        #expect(
            redactedLines(ofRequest: handshake.request) == [
                "GET /path?… HTTP/1.1", "Host: h:8443", "Upgrade: websocket", "Connection: Upgrade",
                "Sec-WebSocket-Key: …", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: chat, …",
                "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", "User-Agent: test/1",
                "Authorization: …", "Cookie: …", "X-Api-Key: …", "Origin: https://o",
            ])
    }

    @Test func aWholeResponse() throws {
        let head = try HeadVerifier.head(
            """
            HTTP/1.1 401 Who are you?\r
            Server: nginx\r
            Set-Cookie: session=secret\r
            WWW-Authenticate: Basic realm="secret"\r
            Content-Length: 3\r
            X-Debug:\r
            \r\n
            """)
        #expect(
            head.redactedLines == [
                "HTTP/1.1 401 Who are you?", "Server: nginx", "Set-Cookie: …", "WWW-Authenticate: Basic …",
                "Content-Length: 3", "X-Debug: …",
            ])
    }

    // MARK: - Fields

    @Test(arguments: [
        "Host", "Upgrade", "Connection", "Origin", "User-Agent", "Server", "Via", "Date", "Retry-After", "Allow",
        "Content-Type", "Content-Length", "Transfer-Encoding", "Sec-WebSocket-Version", "Sec-WebSocket-Accept",
        "Sec-WebSocket-Extensions", "HOST", "sec-websocket-extensions", "Cache-Control", "Vary", "X-Request-ID",
        "CF-Ray",
        "Access-Control-Allow-Origin", "Strict-Transport-Security", "Accept-Language",
    ])
    func harmless(name: String) {
        #expect(field(name, "a: b?c") == "\(name): a: b?c")
    }

    @Test(arguments: [
        "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "Sec-WebSocket-Key", "authorization",
        "Sec-WebSocket-Token", "X-Hosts", "Hos", "Referer", "Content-Location", "X", "X-Api-Key", "Authentication-Info",
        "Set-Cookie2", "X-Forwarded-For", "ETag", "Content-Security-Policy",
    ])
    func secret(name: String) {
        #expect(field(name, "Basic secret") == "\(name): …")
        #expect(field(name, "") == "\(name): …")
    }

    @Test(arguments: [
        "chat", "mqtt", "mqttv5", "wamp.2.json", "graphql-transport-ws", "graphql-ws", "v12.stomp", "ocpp1.6",
        "ocpp2.0.1",
        "webrtc.softphone.com", "a_b+c/d:1", "chat, superchat", "authorization.bearer", "v1.subscriptions.example.com",
    ])
    func subprotocol(names: String) {
        #expect(field("Sec-WebSocket-Protocol", names) == "Sec-WebSocket-Protocol: \(names)")
    }

    @Test(arguments: [
        ("s3cret", "…"), ("t0ken", "…"), ("", ""), ("eyJhbGciOiJIUzI1NiJ9.e30.ZRrHA1JJJW8opsbCGfG_HACGpVUMN", "…"),
        ("chat, s3cret", "chat, …"), ("a,b", "a, b"), ("chat , 0123456789abcdef", "chat, …"),
        ("123e4567-e89b-42d3-a456-426614174000", "…"), ("access_token, Secret", "access_token, …"),
        ("thisisaverylongsecret", "…"), ("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u", "…"), ("123", "…"), (".", "…"),
        ("v1..2", "…"), ("\u{E9}", "…"),
        ("base64url.bearer.authorization.k8s.io.c2VjcmV0", "…"),
    ])
    func aTokenAsASubprotocol(value: String, shown: String) {
        #expect(field("sec-websocket-protocol", value) == "sec-websocket-protocol: \(shown)")
    }

    @Test(arguments: [
        ("Basic realm=\"secret\"", "Basic …"), ("Negotiate c2VjcmV0", "Negotiate …"), ("Negotiate", "Negotiate …"),
        ("realm=\"secret\"", "…"), ("", "…"), ("Digest nonce=\"secret\", Basic realm=\"secret\"", "Digest …"),
    ])
    func challenge(value: String, shown: String) {
        #expect(field("WWW-Authenticate", value) == "WWW-Authenticate: \(shown)")
        #expect(field("proxy-authenticate", value) == "proxy-authenticate: \(shown)")
    }

    @Test(arguments: [
        ("https://h/x", "https://h/x"), ("https://h:81/x?secret", "https://h:81/x?…"), ("/x?", "/x?…"),
        ("https://u:secret@h/x#secret", "https://…@h/x"), ("//secret@h", "//…@h"), ("x?secret#secret", "x?…"),
        ("https://u:sec@ret@h?secret", "https://…@h?…"), ("u:secret@h/x", "…"), ("https:u:secret@h/x", "…"),
        ("https:\\\\u:secret@h/x", "…"), ("https://u:secret\\@h/", "https://…@h/"), ("", ""),
        ("//secret@\u{301}h/x?\u{301}secret", "//…@\u{301}h/x?…"),
    ])
    func location(value: String, shown: String) {
        #expect(field("Location", value) == "Location: \(shown)")
    }

    // MARK: - Start lines

    @Test(arguments: [
        ("GET / HTTP/1.1", "GET / HTTP/1.1"), ("GET /a/b HTTP/1.1", "GET /a/b HTTP/1.1"),
        ("GET /?secret HTTP/1.1", "GET /?… HTTP/1.1"), ("GET /a:b@c?secret?d HTTP/1.1", "GET /a:b@c?… HTTP/1.1"),
        ("GET ws://u:secret@h/x?secret HTTP/1.1", "GET ws://…@h/x?… HTTP/1.1"),
        ("CONNECT h:443 HTTP/1.1", "CONNECT h:443 HTTP/1.1"), ("GET secret:443 HTTP/1.1", "GET … HTTP/1.1"),
        ("HTTP/1.1 200 OK", "HTTP/1.1 200 OK"), ("HTTP/1.1 404 Why? No", "HTTP/1.1 404 Why? No"),
        ("secret", "…"), ("GET /secret", "…"), ("GET / secret HTTP/1.1", "…"), ("a?secret / HTTP/1.1", "…"),
    ])
    func startLines(line: String, shown: String) {
        #expect(startLine(line) == shown)
    }

    // MARK: - Requests as text

    @Test func nothingAfterTheHead() {
        #expect(
            redactedLines(ofRequest: "GET / HTTP/1.1\r\nHost: h\r\n\r\nHost: secret\r\n") == [
                "GET / HTTP/1.1", "Host: h",
            ])
        #expect(redactedLines(ofRequest: "") == [])
        #expect(redactedLines(ofRequest: "\r\nGET /secret") == [])
    }

    @Test func malformedLines() {
        let request =
            "GET / HTTP/1.1\nHost: a\nsecret\n secret: b\nsec ret: c\n: secret\nHost:secret\u{301}\nCookie:\u{301}secret"
        #expect(
            redactedLines(ofRequest: request) == [
                "GET / HTTP/1.1", "Host: a", "…", "…", "…", "…", "Host: secret\u{301}", "Cookie: …",
            ])
    }

    // MARK: - URLs

    @Test(arguments: [
        ("wss://u:secret@h/path?token=secret", "wss://h/path?…"), ("ws://h:81", "ws://h:81/"),
        ("ws+unix:/a.sock:/path?token=secret", "ws+unix:/a.sock:/path?…"),
    ])
    func aURL(_ text: String, _ shown: String) throws { #expect(try WebSocketURL(text).redactedDescription == shown) }
}
