// Wrong requests for a WebSocket connection.

import Testing

@testable import WebSocketProtocol

extension ServerHandshakeTests {
    private func refusal(_ request: String, _ handshake: ServerHandshake = .init()) throws -> RequestRefusal? {
        let request = try RequestVerifier.request(request)
        do throws(RequestRefusal) {
            _ = try handshake.examine(request)
            return nil
        } catch {
            return error
        }
    }

    /// The sample request with one line replaced.
    @Test(arguments: [
        ("GET /chat", "POST /chat", 400, "the request for a WebSocket is not a GET"),
        ("GET /chat", "HEAD /chat", 400, "the request for a WebSocket is not a GET"),
        ("GET /chat", "get /chat", 400, "the request for a WebSocket is not a GET"),
        ("Host:", "Content-Length: 1\r\nHost:", 400, "the request for a WebSocket has a body"),
        ("Host:", "Transfer-Encoding: chunked\r\nHost:", 400, "the request for a WebSocket has a body"),
        ("Connection: Upgrade", "X: y", 400, "the Connection field of the request does not name Upgrade"),
        ("Connection: Upgrade", "Connection: close", 400, "the Connection field of the request does not name Upgrade"),
        (
            "Connection: Upgrade", "Connection: upgrade2, keep-alive", 400,
            "the Connection field of the request does not name Upgrade"
        ),
        ("Version: 13", "Version: 8", 426, "the Sec-WebSocket-Version of the request is not 13"),
        ("Version: 13", "Version: 013", 426, "the Sec-WebSocket-Version of the request is not 13"),
        ("Version: 13", "Version: 13, 8", 426, "the Sec-WebSocket-Version of the request is not 13"),
        ("Version: 13", "Version:", 426, "the Sec-WebSocket-Version of the request is not 13"),
        ("Sec-WebSocket-Version:", "X:", 426, "the Sec-WebSocket-Version of the request is not 13"),
        (
            "Host:", "Sec-WebSocket-Version: 13\r\nHost:", 400,
            "the request has more than one Sec-WebSocket-Version field"
        ),
        ("Sec-WebSocket-Key:", "X:", 400, "the request has no Sec-WebSocket-Key field"),
        (
            "Host:", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nHost:", 400,
            "the request has more than one Sec-WebSocket-Key field"
        ),
        ("dGhlIHNhbXBsZSBub25jZQ==", "", 400, "the Sec-WebSocket-Key of the request is not 16 bytes in Base64"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhl", 400, "the Sec-WebSocket-Key of the request is not 16 bytes in Base64"),
        ("jZQ==", "jZQ=", 400, "the Sec-WebSocket-Key of the request is not 16 bytes in Base64"),
        ("jZQ==", "jZQ=A", 400, "the Sec-WebSocket-Key of the request is not 16 bytes in Base64"),
        ("jZQ==", "jZQa=", 400, "the Sec-WebSocket-Key of the request is not 16 bytes in Base64"),
        ("jZQ==", "jZQAA", 400, "the Sec-WebSocket-Key of the request is not 16 bytes in Base64"),
        ("jZQ==", "jZQAAA==", 400, "the Sec-WebSocket-Key of the request is not 16 bytes in Base64"),
        (
            "Host:", "Sec-WebSocket-Protocol: a b\r\nHost:", 400,
            "the Sec-WebSocket-Protocol field of the request is malformed"
        ),
        (
            "Host:", "Sec-WebSocket-Protocol: a, \"b\"\r\nHost:", 400,
            "the Sec-WebSocket-Protocol field of the request is malformed"
        ),
        (
            "Host:", "Sec-WebSocket-Extensions: permessage-deflate;\r\nHost:", 400,
            "the Sec-WebSocket-Extensions field of the request is malformed"
        ),
        (
            "Host:", "Sec-WebSocket-Extensions: x; a=b c\r\nHost:", 400,
            "the Sec-WebSocket-Extensions field of the request is malformed"
        ),
        (
            "Host:", "Origin: http://evil?a\u{9B}\r\nHost:", 403,
            "websites of the origin \"http://evil?a?\" may not connect to this server"
        ),
        (
            "Host:", "Origin: http://server.example.com\r\nOrigin: http://evil\r\nHost:", 400,
            "the request has more than one Origin field"
        ),
        ("Host:", "Origin: null\r\nHost:", 403, "websites of the origin \"null\" may not connect to this server"),
        ("Host:", "Origin:\r\nHost:", 403, "websites of the origin \"\" may not connect to this server"),
        (
            "Host:", "Origin: http://server.example.com:81\r\nHost:", 403,
            "websites of the origin \"http://server.example.com:81\" may not connect to this server"
        ),
    ])
    func hostileRequest(line: String, replacement: String, status: Int, reason: String) throws {
        var text = Self.request + "\r\n"
        text.replace(line, with: replacement)
        try #require(text != Self.request + "\r\n")
        let refusal = try refusal(text)
        #expect(refusal == (status == 426 ? .upgradeRequired(reason) : RequestRefusal(status: status, reason)))
    }

    /// The characters beside those of Base64.
    @Test(arguments: ["*", ",", "-", ".", ":", "@", "[", "_", "`", "{", "=", " "]) func noBase64(character: String)
        throws
    {
        var text = Self.request + "\r\n"
        text.replace("jZQ==", with: "j\(character)Q==")
        let refusal = try refusal(text)
        #expect(refusal == .badRequest("the Sec-WebSocket-Key of the request is not 16 bytes in Base64"))
    }

    @Test func onlyTheListedOrigins() throws {
        let handshake = ServerHandshake(origins: .list(["https://a"]))
        #expect(try refusal(Self.request + "Origin: https://a\r\n\r\n", handshake) == nil)
        #expect(try refusal(Self.request + "Origin: http://server.example.com\r\n\r\n", handshake)?.status == 403)
        #expect(try refusal(Self.request + "Origin: http://b\r\n\r\n", ServerHandshake(origins: .any)) == nil)
    }

    @Test func noSecretIsShown() throws {
        let refusal = try refusal(
            Self.request + "Sec-WebSocket-Protocol: secret token\r\nCookie: secret\r\n\r\n")
        #expect(refusal?.status == 400)
        #expect(refusal?.reason.contains("secret") == false)
    }
}
