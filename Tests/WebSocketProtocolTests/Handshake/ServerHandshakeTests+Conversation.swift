// ClientHandshake and ServerHandshake talk to each other: both must come to the same agreement.

import Testing

@testable import WebSocketProtocol

extension ServerHandshakeTests {
    /// What both sides agree on, after a check that it is the same.
    private func agreement(
        _ client: ClientHandshake, _ server: ServerHandshake, _ decision: ServerHandshake.Decision = .proceed
    ) throws -> ClientHandshake.Agreement {
        let demand = try server.examine(RequestVerifier.request(client.request))
        guard case .open(let head, let agreement) = try server.answer(demand, decision) else {
            throw AnswerFailure("the request was refused")
        }
        let agreed = try client.verify(HeadVerifier.head(head.text))
        #expect(agreed == agreement)
        return agreed
    }

    private static let choices: [DeflateParameters.Direction?] = [
        nil, .init(), .init(takeover: false), .init(windowBits: 9), .init(windowBits: 12, takeover: false),
    ]

    /// Whatever each side allows for its own and the other's messages: the result is within both.
    @Test(arguments: choices, choices) func compression(
        client: DeflateParameters.Direction?, server: DeflateParameters.Direction?
    ) throws {
        func check(_ offered: DeflateParameters?, _ allowed: DeflateParameters?) throws {
            let agreed = try agreement(Sample.handshake(deflate: offered), .init(deflate: allowed)).deflate
            guard let offered, let allowed else {
                #expect(agreed == nil)
                return
            }
            let deflate = try #require(agreed)
            for (agreed, limit) in [
                (deflate.client, offered.client), (deflate.client, allowed.client), (deflate.server, offered.server),
                (deflate.server, allowed.server),
            ] {
                #expect(agreed.windowBits <= limit.windowBits)
                #expect(limit.takeover || !agreed.takeover)
            }
        }
        let other = DeflateParameters.Direction()
        try check(
            client.map { DeflateParameters(client: $0, server: other) },
            server.map { DeflateParameters(client: $0, server: other) })
        try check(
            client.map { DeflateParameters(client: other, server: $0) },
            server.map { DeflateParameters(client: other, server: $0) })
        try check(
            client.map { DeflateParameters(client: $0, server: other) },
            server.map { DeflateParameters(client: other, server: $0) })
    }

    @Test(arguments: [
        ([], ["a"], ""), (["a"], [], ""), (["a", "b"], ["b", "a"], "b"), (["a"], ["b"], ""),
        (["a", "b"], ["c", "a"], "a"),
    ])
    func subprotocols(offered: [String], spoken: [String], chosen: String) throws {
        #expect(
            try agreement(Sample.handshake(subprotocols: offered), .init(subprotocols: spoken)).subprotocol == chosen)
    }

    @Test func aChoiceOfTheScript() throws {
        let client = try Sample.handshake(
            url: "ws://u:p@[::1]:9000/a?b", headers: [("Origin", "http://[::1]:9000"), ("Cookie", "c=d")],
            subprotocols: ["a", "b"], deflate: DeflateParameters())
        let headers = Sample.fields([("Set-Cookie", "e=f")])
        let agreed = try agreement(
            client, .init(subprotocols: ["a"], deflate: DeflateParameters()),
            .accept(subprotocol: "b", headers: headers))
        #expect(agreed.subprotocol == "b")
        #expect(agreed.deflate == DeflateParameters())
    }

    /// The client's reason is that of the server, or its status.
    @Test func aRefusalReachesTheClient() throws {
        let client = try Sample.handshake(headers: [("Origin", "http://evil")])
        let request = try RequestVerifier.request(client.request)
        var response: HTTPResponse?
        do throws(RequestRefusal) { _ = try ServerHandshake().examine(request) } catch { response = error.response }
        let text = try #require(response).text(method: request.method)
        let split = try #require(text.firstRange(of: "\r\n\r\n"))
        let head = try HeadVerifier.head(String(text[..<split.upperBound]))
        #expect(
            throws: HandshakeFailure(
                reason: "it answered 403 Forbidden instead of 101 Switching Protocols", status: 403)
        ) { try client.verify(head) }
        var body = ResponseBody(head, limit: 1000)
        let rest = ByteBuffer(Array(text[split.upperBound...].utf8))
        body.receive(UnsafeRawBufferPointer(rest.bytes))
        #expect(body.isComplete)
        #expect(body.text == "403 Forbidden: websites of the origin \"http://evil\" may not connect to this server\n")
    }

    /// A frame in the packet of the request is the first that the server reads.
    @Test func aFrameBehindTheRequest() throws {
        let client = try Sample.handshake()
        let packet = Array(client.request.utf8) + clientFrame(0x81, "Hello")
        var reader = HTTPRequestReader()
        let (request, consumed) = try #require(try reader.read(packet[...]))
        let answer = try ServerHandshake().answer(ServerHandshake().examine(request), .proceed)
        guard case .open = answer else {
            Issue.record("refused")
            return
        }
        var frames = MessageReader(role: .server, maximumMessageSize: 100, inflating: nil)
        var records = EventRecords()
        #expect(frames.receive(packet[consumed...], into: &records) == .open)
        #expect(records.events() == [.text("Hello")])
    }
}
