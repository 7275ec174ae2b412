import Testing

@testable import WebSocketProtocol

@Suite struct HTTPConnectTests {
    // MARK: - The request

    @Test func theWholeRequest() throws {
        #expect(
            try request("http://u:p@proxy.example:3128", to: "server.example", port: 443) == """
                CONNECT server.example:443 HTTP/1.1\r
                Host: server.example:443\r
                User-Agent: test/1\r
                Proxy-Authorization: Basic dTpw\r
                \r\n
                """)
    }

    @Test func theSmallestRequest() throws {
        #expect(
            try request("http://proxy.example", to: "::1", port: 80) == """
                CONNECT [::1]:80 HTTP/1.1\r
                Host: [::1]:80\r
                User-Agent: test/1\r
                \r\n
                """)
    }

    /// RFC 7617 section 2.
    @Test(arguments: [
        ("Aladdin:open%20sesame@h", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), ("u@h", "dTo="), ("u:@h", "dTo="),
        (":p@h", "OnA="), ("test:123%C2%A3@h", "dGVzdDoxMjPCow=="),
    ])
    func authorization(proxy: String, encoded: String) throws {
        #expect(
            try request(proxy, to: "h", port: 80).split(separator: "\r\n").last
                == "Proxy-Authorization: Basic \(encoded)")
    }

    // MARK: - The answer

    @Test(arguments: [
        "HTTP/1.1 200 Connection established\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200\n\n",
        "HTTP/1.1 299 x\r\nVia: y\r\n\r\n",
        // RFC 9110 section 9.3.6: ignored.
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n",
        // Interim answers.
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 102 x\r\n\r\nHTTP/1.1 199 x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ])
    func established(answer: String) throws {
        #expect(try verify(answer).outcome == .established)
        #expect(try verify(answer + "\u{1}").failure?.reason == "it sent more than its answer")
    }

    @Test(arguments: [
        "", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n", "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n",
    ])
    func pending(answer: String) throws { #expect(try verify(answer).outcome == .pending) }

    @Test(arguments: [
        ("HTTP/1.1 407 Proxy Authentication Required", 407, "it answered 407 Proxy Authentication Required"),
        ("HTTP/1.0 503 Service Unavailable", 503, "it answered 503 Service Unavailable"),
        ("HTTP/1.1 300 x", 300, "it answered 300 x"), ("HTTP/1.1 403", 403, "it answered 403"),
        ("HTTP/1.1 403 ", 403, "it answered 403"), ("HTTP/1.1 999 a  b", 999, "it answered 999 a  b"),
        ("HTTP/1.1 101 Switching Protocols", 101, "it answered 101 Switching Protocols"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 502 Bad Gateway", 502, "it answered 502 Bad Gateway"),
        ("HTTP/1.1 502 a\tb\u{9B}31mc", 502, "it answered 502 a?b?31mc"),
    ])
    func refused(line: String, status: Int, reason: String) throws {
        for body in ["", "<html>", "HTTP/1.1 200 OK\r\n\r\n"] {
            let failure = try #require(
                try verify("\(line)\r\nProxy-Authenticate: Basic realm=x\r\n\r\n\(body)").failure)
            #expect(failure.reason == reason)
            #expect(failure.status == status)
            #expect(failure.response?.status == status)
            #expect(failure.response?.fields["proxy-authenticate"] == "Basic realm=x")
        }
    }

    @Test(arguments: [
        ("HTTP/2 200\r\n\r\n", "its answer is not HTTP/1.1"), ("X\r\n\r\n", "its answer is not HTTP"),
        ("GET / HTTP/1.1\r\n\r\n", "its answer is not HTTP"), ("\u{5}\u{0}", "its answer is not HTTP"),
        ("<html>", "its answer is not HTTP"),
        ("HTTP/1.1 200 OK\r\nA\r\n", "the head of its answer has a line without a colon"),
        ("HTTP/1.1 100 x\r\n\r\n\u{16}\u{3}", "its answer is not HTTP"),
        (String(repeating: "HTTP/1.1 100 x\r\n\r\n", count: 33), "it sent more than 32 interim answers"),
    ])
    func noAnswer(answer: String, reason: String) throws {
        #expect(try verify(answer).failure == .invalidResponse(reason))
    }

    // MARK: -

    private func request(_ proxy: String, to host: String, port: Int) throws -> String {
        String(decoding: try TunnelVerifier(proxy, to: host, port: port).verify([]).sent, as: UTF8.self)
    }

    private func verify(_ answer: String) throws -> TunnelVerifier.Exchange {
        try TunnelVerifier("http://h").verify(answer)
    }
}
