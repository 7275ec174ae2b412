import Testing

@testable import WebSocketProtocol

@Suite struct DeflateParametersTests {
    typealias Direction = DeflateParameters.Direction

    // MARK: - The offer

    @Test(arguments: [
        (Direction(), Direction(), "permessage-deflate; client_max_window_bits"),
        (
            Direction(), Direction(takeover: false),
            "permessage-deflate; server_no_context_takeover; client_max_window_bits, "
                + "permessage-deflate; client_max_window_bits"
        ),
        (
            Direction(takeover: false), Direction(),
            "permessage-deflate; client_no_context_takeover; client_max_window_bits"
        ),
        (
            Direction(windowBits: 9), Direction(windowBits: 14),
            "permessage-deflate; server_max_window_bits=14; client_max_window_bits=9, "
                + "permessage-deflate; client_max_window_bits"
        ),
        (Direction(windowBits: 9), Direction(), "permessage-deflate; client_max_window_bits=9"),
        (
            Direction(windowBits: 10, takeover: false), Direction(windowBits: 9, takeover: false),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; "
                + "client_max_window_bits=10, permessage-deflate; client_max_window_bits"
        ),
    ])
    func offer(client: Direction, server: Direction, text: String) {
        #expect(DeflateParameters(client: client, server: server).offer == text)
    }

    // MARK: - Answers to an offer of everything

    @Test(arguments: [
        ("permessage-deflate", DeflateParameters()),
        ("permessage-deflate; server_no_context_takeover", DeflateParameters(server: .init(takeover: false))),
        ("permessage-deflate; client_no_context_takeover", DeflateParameters(client: .init(takeover: false))),
        ("permessage-deflate; server_max_window_bits=8", DeflateParameters(server: .init(windowBits: 8))),
        ("permessage-deflate; server_max_window_bits=15", DeflateParameters()),
        ("permessage-deflate; client_max_window_bits=8", DeflateParameters(client: .init(windowBits: 8))),
        ("permessage-deflate; client_max_window_bits=15", DeflateParameters()),
        ("permessage-deflate; server_max_window_bits=\"10\"", DeflateParameters(server: .init(windowBits: 10))),
        (
            "permessage-deflate; client_max_window_bits=9; server_no_context_takeover; server_max_window_bits=12; "
                + "client_no_context_takeover",
            DeflateParameters(
                client: .init(windowBits: 9, takeover: false), server: .init(windowBits: 12, takeover: false))
        ),
    ])
    func rightAnswer(answer: String, parameters: DeflateParameters) throws {
        #expect(try negotiated(DeflateParameters(), answer) == parameters)
    }

    static let windowParameters = ["server_max_window_bits", "client_max_window_bits"]

    @Test(
        arguments: windowParameters,
        ["7", "16", "08", "015", "0", "-9", "9x", "x", "100000000000000000000", "1.0", "+9", "0x9"])
    func windowThatIsNoNumberFrom8To15(name: String, value: String) {
        #expect(
            throws: HandshakeFailure(
                reason: "its permessage-deflate parameter \(name) is \(value), not a number from 8 to 15")
        ) { try negotiated(DeflateParameters(), "permessage-deflate; \(name)=\(value)") }
    }

    @Test(arguments: windowParameters) func windowWithoutAValue(name: String) {
        #expect(
            throws: HandshakeFailure(
                reason: "its permessage-deflate parameter \(name) is empty, not a number from 8 to 15")
        ) { try negotiated(DeflateParameters(), "permessage-deflate; \(name)") }
    }

    @Test(arguments: ["server_no_context_takeover", "client_no_context_takeover"], ["true", "1", "15"])
    func takeoverWithAValue(name: String, value: String) {
        #expect(throws: HandshakeFailure(reason: "its permessage-deflate parameter \(name) has a value, \(value)")) {
            try negotiated(DeflateParameters(), "permessage-deflate; \(name)=\(value)")
        }
    }

    @Test(arguments: [
        "server_max_window_bits=10", "client_max_window_bits=10", "server_no_context_takeover",
        "client_no_context_takeover",
    ])
    func repeatedParameter(parameter: String) {
        let name = parameter.prefix { $0 != "=" }
        #expect(throws: HandshakeFailure(reason: "its permessage-deflate answer repeats \(name)")) {
            try negotiated(DeflateParameters(), "permessage-deflate; \(parameter); \(parameter)")
        }
    }

    @Test(arguments: ["x", "Server_No_Context_Takeover", "server_max_window_bit", "client_max_window_bits_"])
    func unknownParameter(name: String) {
        #expect(throws: HandshakeFailure(reason: "its permessage-deflate answer has the unknown parameter \(name)")) {
            try negotiated(DeflateParameters(), "permessage-deflate; \(name)")
        }
    }

    // MARK: - Answers to an offer of less

    @Test func windowLargerThanOffered() {
        #expect(
            throws: HandshakeFailure(
                reason:
                    "its permessage-deflate parameter client_max_window_bits is 11, more than the 10 that was offered")
        ) {
            try negotiated(
                DeflateParameters(client: .init(windowBits: 10)), "permessage-deflate; client_max_window_bits=11")
        }
    }

    /// Regression: what the first offer asks of the server was a condition, so servers that do not know it could not
    /// be used. Mojolicious answers `permessage-deflate`, nats-server the two no_context_takeover, Tornado leaves out
    /// server_no_context_takeover; coder's websocket declines a smaller window.
    @Test(arguments: [
        ("permessage-deflate", Direction()),
        ("permessage-deflate; server_max_window_bits=10", Direction(windowBits: 10)),
        ("permessage-deflate; server_max_window_bits=15", Direction()),
        ("permessage-deflate; server_no_context_takeover", Direction(takeover: false)),
        (
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=9",
            Direction(windowBits: 9, takeover: false)
        ),
    ])
    func theServerMayTakeThePlainOffer(answer: String, server: Direction) throws {
        let offer = DeflateParameters(server: .init(windowBits: 10, takeover: false))
        #expect(try negotiated(offer, answer) == DeflateParameters(server: server))
    }

    /// The plain offer does not name our window, but the script's limit for it still holds.
    @Test func ourLimitsHoldWithThePlainOffer() throws {
        let offer = DeflateParameters(client: .init(windowBits: 10, takeover: false), server: .init(takeover: false))
        #expect(try negotiated(offer, "permessage-deflate") == DeflateParameters(client: offer.client))
        #expect(
            try negotiated(offer, "permessage-deflate; client_max_window_bits=11")
                == DeflateParameters(client: offer.client))
        #expect(
            try negotiated(offer, "permessage-deflate; client_max_window_bits=9").client
                == .init(windowBits: 9, takeover: false))
    }

    /// 7.1.1.2 and 7.1.2.2: what we offered for our side holds, whether the server repeats it or not.
    @Test func ourLimitsHold() throws {
        let offer = DeflateParameters(client: .init(windowBits: 10, takeover: false))
        #expect(try negotiated(offer, "permessage-deflate") == offer)
        #expect(
            try negotiated(offer, "permessage-deflate; client_max_window_bits=9").client
                == .init(windowBits: 9, takeover: false))
    }

    // MARK: - Server

    /// Accepted by a server that allows everything.
    @Test(arguments: [
        ("", DeflateParameters(), ""),
        ("; client_max_window_bits", DeflateParameters(), ""),
        (
            "; client_max_window_bits=8", DeflateParameters(client: .init(windowBits: 8)), "; client_max_window_bits=8"
        ),
        ("; client_max_window_bits=15", DeflateParameters(), ""),
        // 7.1.2.1: the answer must have it.
        ("; server_max_window_bits=15", DeflateParameters(), "; server_max_window_bits=15"),
        (
            "; server_max_window_bits=\"9\"", DeflateParameters(server: .init(windowBits: 9)),
            "; server_max_window_bits=9"
        ),
        (
            "; client_no_context_takeover", DeflateParameters(client: .init(takeover: false)),
            "; client_no_context_takeover"
        ),
        (
            "; server_max_window_bits=10; client_max_window_bits=9; client_no_context_takeover; "
                + "server_no_context_takeover",
            DeflateParameters(
                client: .init(windowBits: 9, takeover: false), server: .init(windowBits: 10, takeover: false)),
            "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10; "
                + "client_max_window_bits=9"
        ),
    ])
    func acceptedOffer(offer: String, parameters: DeflateParameters, answer: String) throws {
        let accepted = try #require(DeflateParameters().accept(parameterList("permessage-deflate" + offer)))
        #expect(accepted.parameters == parameters)
        #expect(accepted.answer == "permessage-deflate" + answer)
    }

    /// What the server wants besides. It may always limit itself (7.1.1.1, 7.1.2.1) and forbid the client's context
    /// takeover (7.1.1.2).
    @Test(arguments: [
        (
            Direction(takeover: false), Direction(windowBits: 11, takeover: false), "",
            "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11"
        ),
        (Direction(), Direction(windowBits: 11), "; server_max_window_bits=10", "; server_max_window_bits=10"),
        (Direction(), Direction(windowBits: 11), "; server_max_window_bits=12", "; server_max_window_bits=11"),
        (Direction(windowBits: 11), Direction(), "; client_max_window_bits", "; client_max_window_bits=11"),
        (Direction(windowBits: 11), Direction(), "; client_max_window_bits=10", "; client_max_window_bits=10"),
        (Direction(windowBits: 11), Direction(), "; client_max_window_bits=12", "; client_max_window_bits=11"),
    ])
    func limitsOfTheServer(client: Direction, server: Direction, offer: String, answer: String) throws {
        let limits = DeflateParameters(client: client, server: server)
        let accepted = try #require(limits.accept(parameterList("permessage-deflate" + offer)))
        #expect(accepted.answer == "permessage-deflate" + answer)
        // The client understands it in the same way.
        let all = DeflateParameters()
        #expect(try negotiated(all, accepted.answer).server == accepted.parameters.server)
        #expect(try negotiated(all, accepted.answer).client == accepted.parameters.client)
    }

    /// 7.1.2.2: without the parameter the client uses a window of 15 bits.
    @Test func aClientThatCanNotLimitItsWindow() throws {
        let limits = DeflateParameters(client: .init(windowBits: 11))
        #expect(limits.accept(try parameterList("permessage-deflate")) == nil)
    }

    @Test(arguments: [
        "x", "server_max_window_bits", "server_max_window_bits=8", "server_max_window_bits=16",
        "server_max_window_bits=7", "server_max_window_bits=09", "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=x", "server_no_context_takeover=1", "client_no_context_takeover=1",
        "client_max_window_bits; client_max_window_bits", "server_no_context_takeover; server_no_context_takeover",
    ])
    func refusedOffer(offer: String) throws {
        #expect(DeflateParameters().accept(try parameterList("permessage-deflate; " + offer)) == nil)
    }

    // MARK: -

    @discardableResult
    private func negotiated(_ offer: DeflateParameters, _ answer: String) throws -> DeflateParameters {
        try offer.negotiated(from: parameterList(answer))
    }

    private func parameterList(_ text: String) throws -> [ExtensionParameter] {
        try #require(parseExtensions(text)?.first).parameters
    }
}
