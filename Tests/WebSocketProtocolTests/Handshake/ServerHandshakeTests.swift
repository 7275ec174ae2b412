import Testing

@testable import WebSocketProtocol

@Suite struct ServerHandshakeTests {
    private static let request = """
        GET /chat HTTP/1.1\r
        Host: server.example.com\r
        Upgrade: websocket\r
        Connection: Upgrade\r
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r
        Sec-WebSocket-Version: 13\r\n
        """

    @Test func theSampleOfTheRFC() throws {
        let request = Self.request + "Origin: http://example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\n\r\n"
        let (response, agreement) = try answer(request, subprotocols: ["superchat", "chat"])
        #expect(response == Sample.response)
        #expect(agreement == ClientHandshake.Agreement(subprotocol: "chat"))
    }

    @Test func nothingIsChosenThatWasNotOffered() throws {
        let (response, agreement) = try answer(Self.request + "\r\n", subprotocols: ["chat"])
        #expect(agreement == ClientHandshake.Agreement())
        #expect(!response.contains("Sec-WebSocket-Protocol"))
        #expect(!response.contains("Sec-WebSocket-Extensions"))
        let other = try answer(Self.request + "Sec-WebSocket-Protocol: a\r\n\r\n", subprotocols: ["chat"])
        #expect(other.agreement == ClientHandshake.Agreement())
    }

    @Test func theFirstOfferOfCompressionThatCanBeDone() throws {
        let offers = "x, permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=10"
        let request = Self.request + "Sec-WebSocket-Extensions: \(offers), permessage-deflate\r\n\r\n"
        let (response, agreement) = try answer(request)
        #expect(agreement?.deflate == DeflateParameters(server: .init(windowBits: 10)))
        #expect(agreement?.extensions == "permessage-deflate; server_max_window_bits=10")
        #expect(response.contains("\r\nSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n"))
        #expect(try answer(request, deflate: false).agreement == ClientHandshake.Agreement())
    }

    @Test func malformedExtensionsAreNone() throws {
        let request = Self.request + "Sec-WebSocket-Extensions: permessage-deflate;\r\n\r\n"
        #expect(try answer(request).agreement == ClientHandshake.Agreement())
    }

    @Test(arguments: [
        ("GET /chat", "POST /chat"), (" HTTP/1.1", " HTTP/1.0"), ("Host:", "X-Host:"),
    ])
    func badRequest(line: String, replacement: String) throws {
        let (response, agreement) = try answer(changed(line, replacement))
        #expect(response == "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        #expect(agreement == nil)
    }

    @Test(arguments: [
        ("Upgrade: websocket", "Upgrade: h2c"), ("Connection: Upgrade", "Connection: close"),
        ("Sec-WebSocket-Key:", "X-Key:"), ("dGhlIHNhbXBsZSBub25jZQ==", "dGhl"),
    ])
    func noUpgrade(line: String, replacement: String) throws {
        let (response, agreement) = try answer(changed(line, replacement))
        #expect(
            response
                == "HTTP/1.1 426 Upgrade Required\r\nConnection: close\r\nContent-Length: 0\r\nUpgrade: websocket\r\n\r\n"
        )
        #expect(agreement == nil)
    }

    /// 4.4: the response names the supported version.
    @Test(arguments: ["Sec-WebSocket-Version: 8", "X: 13"]) func anotherVersion(replacement: String) throws {
        let (response, agreement) = try answer(changed("Sec-WebSocket-Version: 13", replacement))
        #expect(
            response
                == "HTTP/1.1 426 Upgrade Required\r\nConnection: close\r\nContent-Length: 0\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        #expect(agreement == nil)
    }

    /// For every offer the client accepts the answer, and both sides have the same parameters.
    @Test(arguments: [9, 12, 15], [true, false])
    func ourClientAndOurServerAgree(windowBits: Int, takeover: Bool) throws {
        let offered = DeflateParameters(
            client: .init(windowBits: windowBits, takeover: takeover),
            server: .init(windowBits: windowBits, takeover: takeover))
        let client = try Sample.handshake(subprotocols: ["a", "b"], deflate: offered)
        let (response, agreement) = try answer(client.request, subprotocols: ["b"])
        let agreed = try client.verify(HeadVerifier.head(response))
        #expect(agreed == agreement)
        #expect(agreed.deflate == offered)
        #expect(agreed.subprotocol == "b")
    }

    private func changed(_ line: String, _ replacement: String) -> String {
        var text = Self.request + "\r\n"
        text.replace(line, with: replacement)
        return text
    }

    private func answer(
        _ request: String, subprotocols: [String] = [], deflate: Bool = true
    ) throws -> (response: String, agreement: ClientHandshake.Agreement?) {
        ServerHandshake.answer(try HeadVerifier.request(request), subprotocols: subprotocols, deflate: deflate)
    }
}
