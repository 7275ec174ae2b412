import Testing

@testable import WebSocketProtocol

@Suite struct ServerHandshakeTests {
    typealias Answer = ServerHandshake.Answer

    static let request = """
        GET /chat HTTP/1.1\r
        Host: server.example.com\r
        Upgrade: websocket\r
        Connection: Upgrade\r
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r
        Sec-WebSocket-Version: 13\r\n
        """

    private func answer(
        _ request: String, _ decision: ServerHandshake.Decision = .proceed, _ handshake: ServerHandshake = .init()
    ) throws -> Answer {
        try handshake.answer(handshake.examine(RequestVerifier.request(request)), decision)
    }

    private func opened(
        _ more: String = "", _ decision: ServerHandshake.Decision = .proceed, _ handshake: ServerHandshake = .init()
    ) throws -> (head: HTTPHead, agreement: ServerHandshake.Agreement) {
        guard case .open(let head, let agreement) = try answer(Self.request + more + "\r\n", decision, handshake) else {
            throw AnswerFailure("the request was refused")
        }
        return (head, agreement)
    }

    private func response(
        _ request: String, _ decision: ServerHandshake.Decision = .proceed
    ) throws -> HTTPResponse {
        guard case .response(let response) = try answer(request, decision) else {
            throw AnswerFailure("it was accepted")
        }
        return response
    }

    // MARK: - Accepted

    @Test func theSampleOfTheRFC() throws {
        let (head, agreement) = try opened(
            "Origin: http://example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\n",
            .proceed, ServerHandshake(origins: .list(["http://example.com"]), subprotocols: ["chat"]))
        #expect(head.text == Sample.response)
        #expect(agreement == ClientHandshake.Agreement(subprotocol: "chat"))
    }

    @Test(arguments: [
        ("Connection: Upgrade", "Connection: keep-alive, upgrade"), ("Upgrade: websocket", "UPGRADE: WebSocket"),
        ("Upgrade: websocket", "Upgrade: h2c, websocket"), ("Host:", "Content-Length: 0\r\nHost:"),
        ("Host: server.example.com", "Host: x\r\nOrigin: http://x"), ("GET /chat", "GET ws://server.example.com/chat"),
        // The last digit may be any (RFC 4648 section 3.5).
        ("ub25jZQ==", "ub25jZR=="), ("ub25jZQ==", "ub25/+9=="),
    ])
    func variants(line: String, replacement: String) throws {
        var text = Self.request + "\r\n"
        text.replace(line, with: replacement)
        guard case .open = try answer(text) else {
            Issue.record("refused")
            return
        }
    }

    @Test(arguments: [
        ("a, b", ["b", "a"], "b"), ("a\r\nSec-WebSocket-Protocol: b", ["b"], "b"), ("a", ["b"], ""), ("A", ["a"], ""),
        ("", ["a"], ""), ("a, a", ["a"], "a"), (",a,", ["a"], "a"), ("a", [], ""),
    ])
    func theServersFavouriteSubprotocol(offered: String, spoken: [String], chosen: String) throws {
        let handshake = ServerHandshake(subprotocols: spoken)
        let (head, agreement) = try opened("Sec-WebSocket-Protocol: \(offered)\r\n", .proceed, handshake)
        #expect(agreement.subprotocol == chosen)
        #expect(head.fields["Sec-WebSocket-Protocol"] == (chosen.isEmpty ? nil : chosen))
    }

    @Test func withoutOffersNothingIsChosen() throws {
        let (head, agreement) = try opened("", .proceed, .init(subprotocols: ["a"], deflate: DeflateParameters()))
        #expect(agreement == ClientHandshake.Agreement())
        #expect(head.fields.fields.map(\.name) == ["Upgrade", "Connection", "Sec-WebSocket-Accept"])
    }

    @Test func theFirstOfferOfCompressionThatCanBeAccepted() throws {
        let offers = "x, permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=10"
        let more = "Sec-WebSocket-Extensions: \(offers)\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
        let (head, agreement) = try opened(more, .proceed, .init(deflate: DeflateParameters()))
        #expect(agreement.deflate == DeflateParameters(server: .init(windowBits: 10)))
        #expect(agreement.extensions == "permessage-deflate; server_max_window_bits=10")
        #expect(head.fields["Sec-WebSocket-Extensions"] == agreement.extensions)
        #expect(try opened(more).agreement == ClientHandshake.Agreement())
        let unknown = "Sec-WebSocket-Extensions: x, permessage-deflate; y\r\n"
        #expect(try opened(unknown, .proceed, .init(deflate: DeflateParameters())).agreement.deflate == nil)
    }

    // MARK: - Decisions of the script

    @Test func acceptedByTheScript() throws {
        let more = "Sec-WebSocket-Protocol: a, b\r\n"
        let handshake = ServerHandshake(subprotocols: ["a"], headers: Sample.fields([("Server", "x")]))
        let headers = Sample.fields([("Set-Cookie", "c=1"), ("X", "2")])
        let (head, agreement) = try opened(more, .accept(subprotocol: "b", headers: headers), handshake)
        #expect(agreement.subprotocol == "b")
        #expect(
            head.text.hasSuffix("Sec-WebSocket-Protocol: b\r\nServer: x\r\nSet-Cookie: c=1\r\nX: 2\r\n\r\n"))
        // Without a choice of the script.
        let usual = try opened(more, .accept(subprotocol: nil, headers: HeaderFields()), handshake)
        #expect(usual.agreement.subprotocol == "a")
    }

    @Test(arguments: ["c", "A", "", "a, b"]) func aSubprotocolThatIsNotOffered(name: String) {
        let reason = "it chooses the subprotocol '\(name)', which the client does not offer"
        #expect(throws: AnswerFailure(reason)) {
            try opened("Sec-WebSocket-Protocol: a, b\r\n", .accept(subprotocol: name, headers: HeaderFields()))
        }
    }

    @Test(arguments: ["Upgrade", "Connection", "Sec-WebSocket-Accept", "sec-websocket-extensions", "Content-Length"])
    func headersThatMakeTheHandshake(name: String) {
        #expect(throws: AnswerFailure("it sets the header '\(name)', which belongs to the server")) {
            try opened("", .accept(subprotocol: nil, headers: Sample.fields([(name, "x")])))
        }
    }

    @Test func headersThatWouldEndTheResponse() {
        #expect(throws: AnswerFailure("it has a control character in the header 'X'")) {
            try opened("", .accept(subprotocol: nil, headers: Sample.fields([("X", "1\r\n\r\n")])))
        }
    }

    @Test(arguments: [request + "\r\n", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HEAD /x HTTP/1.0\r\n\r\n"])
    func theScriptMayRespondToAnyRequest(request: String) throws {
        let page = try HTTPResponse(status: 200, body: Array("ok".utf8))
        #expect(try response(request, .respond(page)) == page)
        #expect(
            try response(request, .forbid).text().hasSuffix("403 Forbidden: this server does not accept the request\n"))
    }

    @Test func aPageIsNoWebSocket() {
        #expect(throws: AnswerFailure("it accepts a request that asks for no WebSocket")) {
            try answer("GET / HTTP/1.1\r\nHost: h\r\n\r\n", .accept(subprotocol: nil, headers: HeaderFields()))
        }
    }

    // MARK: - Refused unless the script responds

    @Test(arguments: [
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "this is a WebSocket server, and the request asks for no WebSocket"),
        (
            "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n",
            "this is a WebSocket server, and the request asks for no WebSocket"
        ),
        (
            "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c, websocket2\r\nConnection: Upgrade\r\n\r\n",
            "this is a WebSocket server, and the request asks for no WebSocket"
        ),
        (
            "GET / HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Key: x\r\n\r\n",
            "the request has Sec-WebSocket-Key but not Upgrade: websocket, which a proxy may have removed"
        ),
        (
            "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websoc\u{212A}et\r\n\r\n",
            "this is a WebSocket server, and the request asks for no WebSocket"
        ),
    ])
    func noUpgrade(request: String, reason: String) throws {
        let text = try response(request).text()
        #expect(text.hasPrefix("HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"))
        #expect(text.hasSuffix("\r\n\r\n426 Upgrade Required: \(reason)\n"))
    }

    /// RFC 9110 section 7.8: the field Upgrade does not count.
    @Test(arguments: ["HEAD / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\n" + request.dropFirst(20) + "\r\n"])
    func anOldRequest(request: String) throws {
        #expect(try response(request).status == 505)
        #expect(try response(request).text().hasSuffix("a WebSocket needs HTTP/1.1, also from a proxy on the way\n"))
    }
}
