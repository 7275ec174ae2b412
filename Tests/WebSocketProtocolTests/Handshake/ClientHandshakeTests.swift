import Testing

@testable import WebSocketProtocol

@Suite struct ClientHandshakeTests {
    // MARK: - The request

    @Test func theWholeRequest() throws {
        let handshake = try Sample.handshake(
            subprotocols: ["chat", "superchat"], deflate: DeflateParameters())
        #expect(
            handshake.request == """
                GET /chat HTTP/1.1\r
                Host: server.example.com\r
                Upgrade: websocket\r
                Connection: Upgrade\r
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r
                Sec-WebSocket-Version: 13\r
                Sec-WebSocket-Protocol: chat, superchat\r
                Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r
                User-Agent: test/1\r
                \r\n
                """)
    }

    @Test func theSmallestRequest() throws {
        #expect(
            try Sample.handshake(url: "wss://h:8443").request == """
                GET / HTTP/1.1\r
                Host: h:8443\r
                Upgrade: websocket\r
                Connection: Upgrade\r
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r
                Sec-WebSocket-Version: 13\r
                User-Agent: test/1\r
                \r\n
                """)
    }

    @Test func headersOfTheScriptStandAtTheEnd() throws {
        let request = try Sample.handshake(headers: [("X-A", "1"), ("Cookie", "a=b"), ("X-A", "2")]).request
        #expect(request.hasSuffix("User-Agent: test/1\r\nX-A: 1\r\nCookie: a=b\r\nX-A: 2\r\n\r\n"))
    }

    @Test func headersOfTheScriptReplaceOurs() throws {
        let request = try Sample.handshake(
            url: "ws://u:p@h/", headers: [("host", "other"), ("USER-AGENT", "mine"), ("Authorization", "Bearer x")]
        ).request
        #expect(lines(of: request, named: "host") == ["host: other"])
        #expect(lines(of: request, named: "user-agent") == ["USER-AGENT: mine"])
        #expect(lines(of: request, named: "authorization") == ["Authorization: Bearer x"])
    }

    /// RFC 7617 section 2.
    @Test func userAndPasswordBecomeAuthorization() throws {
        let request = try Sample.handshake(url: "ws://Aladdin:open%20sesame@h/").request
        #expect(lines(of: request, named: "authorization") == ["Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="])
        #expect(lines(of: request, named: "host") == ["Host: h"])
    }

    @Test func theFieldsOfTheHandshakeAreReserved() throws {
        let request = try Sample.handshake(subprotocols: ["a"], deflate: DeflateParameters()).request
        let names = request.split(separator: "\r\n").dropFirst().map { $0.prefix { $0 != ":" }.lowercased() }
        #expect(Set(names).subtracting(["host", "user-agent"]).isSubset(of: ClientHandshake.reserved))
        #expect(
            ClientHandshake.reserved.isSuperset(of: ["content-length", "transfer-encoding", "sec-websocket-accept"]))
        #expect(ClientHandshake.reserved.isDisjoint(with: ["host", "user-agent", "origin", "cookie", "authorization"]))
    }

    // MARK: - The answer

    @Test func theSampleOfTheRFC() {
        #expect(base64(Sample.nonce) == Sample.key)
        #expect(acceptance(of: Sample.key) == Sample.accept)
    }

    @Test func theSampleAnswer() throws {
        let agreement = try Sample.handshake(subprotocols: ["chat", "superchat"]).verify(
            HeadVerifier.head(Sample.response))
        #expect(agreement == ClientHandshake.Agreement(subprotocol: "chat", extensions: "", deflate: nil))
    }

    @Test(arguments: [
        Sample.answer(["Connection": "keep-alive, Upgrade"]), Sample.answer(["Connection": "UPGRADE"]),
        Sample.answer(["Connection": "keep-alive"], more: "Connection: upgrade\r\n"),
        Sample.answer(["Upgrade": "WebSocket"]), Sample.answer(status: "HTTP/1.1 101 Whatever you like"),
        Sample.answer(status: "HTTP/1.1 101 "), Sample.answer(status: "HTTP/1.1 101"),
        Sample.answer(more: "Server: x\r\nDate: y\r\n"),
        Sample.answer(["Sec-WebSocket-Accept": "  \(Sample.accept)\t"]),
    ])
    func goodAnswer(answer: String) throws {
        #expect(try verify(answer) == ClientHandshake.Agreement())
    }

    struct Refusal: Sendable {
        var answer: String
        var reason: String

        init(_ answer: String, _ reason: String) {
            self.answer = answer
            self.reason = reason
        }
    }

    @Test(arguments: [
        Refusal(Sample.answer(status: "GET / HTTP/1.1"), "its answer is not HTTP"),
        Refusal(Sample.answer(status: "HTTP/2 101"), "its answer is not HTTP/1.1"),
        Refusal(Sample.answer(status: "HTTP/1.0 101 Switching Protocols"), "its answer is not HTTP/1.1"),
        Refusal(Sample.answer(["Upgrade": nil]), "its answer has no Upgrade field"),
        Refusal(Sample.answer(["Upgrade": " ,"]), "its answer has no Upgrade field"),
        Refusal(
            Sample.answer(more: "Upgrade: websocket\r\n"),
            "the Upgrade field of its answer is \"websocket, websocket\", not \"websocket\""),
        Refusal(Sample.answer(["Upgrade": "h2c"]), "the Upgrade field of its answer is \"h2c\", not \"websocket\""),
        Refusal(
            Sample.answer(["Upgrade": "websocket, h2c"]),
            "the Upgrade field of its answer is \"websocket, h2c\", not \"websocket\""),
        Refusal(Sample.answer(["Connection": nil]), "the Connection field of its answer does not name Upgrade"),
        Refusal(Sample.answer(["Connection": "close"]), "the Connection field of its answer does not name Upgrade"),
        Refusal(
            Sample.answer(["Connection": "Upgrades"]), "the Connection field of its answer does not name Upgrade"),
        Refusal(Sample.answer(["Sec-WebSocket-Accept": nil]), "its answer has no Sec-WebSocket-Accept field"),
        Refusal(
            Sample.answer(more: "Sec-WebSocket-Accept: \(Sample.accept)\r\n"),
            "its answer has more than one Sec-WebSocket-Accept field"),
        Refusal(
            Sample.answer(["Sec-WebSocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOO="]),
            "the Sec-WebSocket-Accept field of its answer is wrong: it did not read our key"),
        Refusal(
            Sample.answer(["Sec-WebSocket-Accept": Sample.accept.lowercased()]),
            "the Sec-WebSocket-Accept field of its answer is wrong: it did not read our key"),
        Refusal(
            Sample.answer(["Sec-WebSocket-Accept": ""]),
            "the Sec-WebSocket-Accept field of its answer is wrong: it did not read our key"),
        Refusal(
            Sample.answer(more: "Sec-WebSocket-Protocol: chat\r\n"),
            "it chose the subprotocol \"chat\", which was not offered"),
        Refusal(
            Sample.answer(more: "Sec-WebSocket-Extensions: permessage-deflate\r\n"),
            "it chose the extension permessage-deflate, which was not offered"),
        Refusal(
            Sample.answer(more: "Sec-WebSocket-Extensions: x-other; a=1\r\n"),
            "it chose the extension x-other, which was not offered"),
        // Control characters.
        Refusal(
            Sample.answer(["Upgrade": "\u{9B}31m\tx"]),
            "the Upgrade field of its answer is \"?31m?x\", not \"websocket\""),
        Refusal(
            Sample.answer(more: "Sec-WebSocket-Protocol: \u{9D}0;x\u{9C}\r\n"),
            "it chose the subprotocol \"?0;x?\", which was not offered"),
        Refusal(
            Sample.answer(more: "Sec-WebSocket-Extensions: \u{80}\u{9F}\r\n"),
            "the Sec-WebSocket-Extensions field of its answer is malformed: \"??\""),
    ])
    func badAnswer(refusal: Refusal) {
        #expect(throws: HandshakeFailure(reason: refusal.reason)) { try verify(refusal.answer) }
    }

    /// U+212A is k in lower case and canonically equivalent to K, but must not match either.
    @Test func theKelvinSignIsNoK() throws {
        #expect(throws: HandshakeFailure.self) { try verify(Sample.answer(["Upgrade": "WebSoc\u{212A}et"])) }
        let accept = Sample.accept.replacing("K", with: "\u{212A}")
        #expect(throws: HandshakeFailure.self) { try verify(Sample.answer(["Sec-WebSocket-Accept": accept])) }
        let more = "Sec-WebSocket-Protocol: \u{212A}\r\n"
        #expect(throws: HandshakeFailure.self) { try verify(Sample.answer(more: more), ["K"]) }
    }

    @Test(arguments: [
        ("HTTP/1.1 404 Not Found", 404, "404 Not Found"), ("HTTP/1.1 301 Moved", 301, "301 Moved"),
        ("HTTP/1.1 200", 200, "200"), ("HTTP/1.0 503 ", 503, "503"), ("HTTP/1.1 204 No Content", 204, "204 No Content"),
    ])
    func anotherStatus(line: String, status: Int, words: String) {
        #expect(
            throws: HandshakeFailure(
                reason: "it answered \(words) instead of 101 Switching Protocols", status: status)
        ) { try verify(Sample.answer(status: line)) }
    }

    // MARK: - Subprotocols and extensions

    @Test func theSubprotocolIsOneOfTheOffered() throws {
        #expect(try verify(Sample.answer(more: "Sec-WebSocket-Protocol: b\r\n"), ["a", "b"]).subprotocol == "b")
        #expect(try verify(Sample.answer(), ["a", "b"]).subprotocol == "")
    }

    @Test(arguments: [
        ("Sec-WebSocket-Protocol: c\r\n", "c"), ("Sec-WebSocket-Protocol: A\r\n", "A"),
        ("Sec-WebSocket-Protocol: a, b\r\n", "a, b"),
        ("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n", "a, b"),
        ("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a\r\n", "a, a"),
    ])
    func noOtherSubprotocol(more: String, chosen: String) {
        #expect(throws: HandshakeFailure(reason: "it chose the subprotocol \"\(chosen)\", which was not offered")) {
            try verify(Sample.answer(more: more), ["a", "b"])
        }
    }

    @Test func compressionThatWasOffered() throws {
        let answer = Sample.answer(
            more:
                "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_max_window_bits=10\r\n"
        )
        let agreement = try verify(answer, deflate: DeflateParameters())
        #expect(agreement.extensions == "permessage-deflate; server_no_context_takeover; client_max_window_bits=10")
        #expect(
            agreement.deflate
                == DeflateParameters(client: .init(windowBits: 10), server: .init(takeover: false)))
        #expect(try verify(Sample.answer(), deflate: DeflateParameters()) == ClientHandshake.Agreement())
    }

    /// An empty list chooses nothing (RFC 9110 section 5.6.1.2). Firefox, gorilla and coder's websocket accept an
    /// empty Sec-WebSocket-Extensions. The two libraries in Go also accept an empty Sec-WebSocket-Protocol; Firefox
    /// does if no subprotocol was offered. Chromium, websockets and ws refuse both.
    @Test(arguments: ["", "\t", ",", " , ,"], [true, false]) func emptyListsAreNone(list: String, offers: Bool) throws {
        let subprotocols = offers ? ["a"] : []
        let deflate = offers ? DeflateParameters() : nil
        for name in ["Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"] {
            let field = "\(name): \(list)\r\n"
            for more in [field, field + field] {
                let agreement = try verify(Sample.answer(more: more), subprotocols, deflate: deflate)
                #expect(agreement == ClientHandshake.Agreement())
            }
        }
    }

    /// RFC 9110 section 5.6.1.2. websockets accepts these; Chromium once did.
    @Test(arguments: [
        Sample.answer(more: "Sec-WebSocket-Protocol: b,\r\n"), Sample.answer(more: "Sec-WebSocket-Protocol: , b ,\r\n"),
        Sample.answer(more: "Sec-WebSocket-Protocol:\r\nSec-WebSocket-Protocol: b\r\n"),
        Sample.answer(["Upgrade": "websocket,"], more: "Sec-WebSocket-Protocol: b\r\n"),
        Sample.answer(["Upgrade": " , WebSocket"], more: "Upgrade: \r\nSec-WebSocket-Protocol: b\r\n"),
    ])
    func emptyElementsBesideTheOnlyOne(answer: String) throws {
        #expect(try verify(answer, ["a", "b"]) == ClientHandshake.Agreement(subprotocol: "b"))
    }

    /// RFC 9110 section 5.6.1.2.
    @Test func emptyElementsBesideWhatWasOffered() throws {
        let answer = Sample.answer(
            more: "Sec-WebSocket-Extensions: ,permessage-deflate,\r\nSec-WebSocket-Extensions:\r\n")
        let agreement = try verify(answer, deflate: DeflateParameters())
        #expect(agreement.deflate == DeflateParameters())
    }

    @Test(arguments: [
        ("permessage-deflate, permessage-deflate", "it chose the extension permessage-deflate twice"),
        ("permessage-deflate, x", "it chose the extension x, which was not offered"),
        (
            "permessage-deflate;",
            "the Sec-WebSocket-Extensions field of its answer is malformed: \"permessage-deflate;\""
        ),
        ("permessage-deflate; x", "its permessage-deflate answer has the unknown parameter x"),
    ])
    func extensionsThatAreWrong(extensions: String, reason: String) {
        #expect(throws: HandshakeFailure(reason: reason)) {
            try verify(
                Sample.answer(more: "Sec-WebSocket-Extensions: \(extensions)\r\n"), deflate: DeflateParameters())
        }
    }

    /// RFC 4648 section 10.
    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ])
    func base64Vectors(text: String, encoded: String) {
        #expect(base64(Array(text.utf8)) == encoded)
    }

    // MARK: -

    @discardableResult
    private func verify(
        _ answer: String, _ subprotocols: [String] = [], deflate: DeflateParameters? = nil
    ) throws -> ClientHandshake.Agreement {
        try Sample.handshake(subprotocols: subprotocols, deflate: deflate).verify(HeadVerifier.head(answer))
    }

    private func lines(of request: String, named name: String) -> [String] {
        request.split(separator: "\r\n").map(String.init).filter { $0.lowercased().hasPrefix(name + ":") }
    }
}
