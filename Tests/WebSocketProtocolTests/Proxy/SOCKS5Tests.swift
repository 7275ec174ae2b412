import Testing

@testable import WebSocketProtocol

@Suite struct SOCKS5Tests {
    /// The request for server.example:443.
    private static let request: [UInt8] = [5, 1, 0, 3, 14] + Array("server.example".utf8) + [0x01, 0xBB]
    /// Success, bound to 0.0.0.0:0.
    private static let success: [UInt8] = [5, 0, 0, 1, 0, 0, 0, 0, 0, 0]

    // MARK: - Methods

    @Test func withoutAPassword() throws {
        let exchange = try verify([5, 0] + Self.success)
        #expect(exchange.outcome == .established)
        #expect(exchange.sent == [5, 1, 0] + Self.request)
    }

    /// RFC 1929.
    @Test func withAPassword() throws {
        let exchange = try verify([5, 2, 1, 0] + Self.success, user: "us:pass@")
        #expect(exchange.outcome == .established)
        #expect(
            exchange.sent == [5, 2, 0, 2] + [1, 2] + Array("us".utf8) + [4] + Array("pass".utf8) + Self.request)
    }

    @Test func aPasswordThatTheProxyDoesNotAskFor() throws {
        let exchange = try verify([5, 0] + Self.success, user: "u:p@")
        #expect(exchange.outcome == .established)
        #expect(exchange.sent == [5, 2, 0, 2] + Self.request)
    }

    @Test func aPasswordOf255Bytes() throws {
        let long = String(repeating: "é", count: 127) + "e"
        let sent = try verify([5, 2, 1], user: "\(long):\(long)@").sent
        #expect(sent == [5, 2, 0, 2, 1, 255] + Array(long.utf8) + [255] + Array(long.utf8))
    }

    @Test func eachMessageFollowsAWholeAnswer() throws {
        #expect(try verify([], user: "u:p@") == .init(outcome: .pending, sent: [5, 2, 0, 2]))
        #expect(try verify([5], user: "u:p@") == .init(outcome: .pending, sent: [5, 2, 0, 2]))
        let credentials: [UInt8] = [5, 2, 0, 2, 1, 1, 0x75, 1, 0x70]
        #expect(try verify([5, 2], user: "u:p@") == .init(outcome: .pending, sent: credentials))
        #expect(try verify([5, 2, 1], user: "u:p@") == .init(outcome: .pending, sent: credentials))
        let all = credentials + Self.request
        #expect(try verify([5, 2, 1, 0], user: "u:p@") == .init(outcome: .pending, sent: all))
        for count in 1..<Self.success.count {
            let answer = [5, 2, 1, 0] + Self.success.prefix(count)
            #expect(try verify(answer, user: "u:p@") == .init(outcome: .pending, sent: all))
        }
    }

    @Test(
        arguments: [
            ([5, 0xFF], "it accepts none of our ways to authenticate"),
            ([5, 2], "it chose the way 2 to authenticate, which was not offered"),
            ([5, 1], "it chose the way 1 to authenticate, which was not offered"),
            ([4], "its answer is not SOCKS5"), ([0], "its answer is not SOCKS5"), ([0x48], "its answer is not SOCKS5"),
        ] as [([UInt8], String)])
    func noMethod(answer: [UInt8], reason: String) throws {
        let exchange = try verify(answer)
        #expect(exchange.failure == .invalidResponse(reason))
        #expect(exchange.sent == [5, 1, 0])
    }

    @Test(
        arguments: [
            ([5, 0xFF], "it accepts none of our ways to authenticate"),
            ([5, 3], "it chose the way 3 to authenticate, which was not offered"),
            ([5, 2, 1, 1], "it does not accept user and password"),
            ([5, 2, 1, 0xFF], "it does not accept user and password"),
            ([5, 2, 5], "its answer is not SOCKS5"), ([5, 2, 0], "its answer is not SOCKS5"),
            ([5, 2, 1, 0, 1], "its answer is not SOCKS5"),
        ] as [([UInt8], String)])
    func notAuthenticated(answer: [UInt8], reason: String) throws {
        #expect(try verify(answer, user: "u:p@").failure == .invalidResponse(reason))
    }

    // MARK: - The request

    @Test(
        arguments: [
            ("127.0.0.1", 80, [1, 127, 0, 0, 1, 0, 80]), ("1.2.3.4", 65535, [1, 1, 2, 3, 4, 0xFF, 0xFF]),
            ("2001:db8::a", 256, [4, 0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0A, 1, 0]),
            ("h", 1, [3, 1, 0x68, 0, 1]), ("1.2", 1, [3, 3, 0x31, 0x2E, 0x32, 0, 1]),
        ] as [(String, Int, [UInt8])])
    func target(host: String, port: Int, bytes: [UInt8]) throws {
        for scheme in ["socks5", "socks5h"] {
            let sent = try TunnelVerifier("\(scheme)://h", to: host, port: port).verify([5, 0]).sent
            #expect(sent == [5, 1, 0] + [5, 1, 0] + bytes)
        }
    }

    @Test func aNameHasAtMost255Bytes() throws {
        let name = String(repeating: "a", count: 255)
        let sent = try TunnelVerifier("socks5h://h", to: name, port: 80).verify([5, 0]).sent
        #expect(sent == [5, 1, 0] + [5, 1, 0, 3, 255] + Array(name.utf8) + [0, 80])
        for (host, count) in [(name + "a", 256), ("", 0)] {
            #expect(throws: TunnelFailure(reason: "it can't be asked for a name of \(count) bytes")) {
                try TunnelVerifier("socks5h://h", to: host).feed([])
            }
        }
    }

    // MARK: - The reply

    @Test(
        arguments: [
            [1, 127, 0, 0, 1, 0x12, 0x34], [4] + Array(repeating: 0xFF, count: 18), [3, 0, 0, 0], [3, 1, 0x68, 0, 0],
            [3, 255] + Array(repeating: 5, count: 257),
        ] as [[UInt8]])
    func theBoundAddressIsIgnored(address: [UInt8]) throws {
        // The reserved byte is ignored.
        for reserved: UInt8 in [0, 1] {
            let answer = [5, 0, 5, 0, reserved] + address
            #expect(try verify(answer).outcome == .established)
            #expect(try verify(answer.dropLast()).outcome == .pending)
            #expect(try verify(answer + [0]).failure == .invalidResponse("it sent more than its answer"))
        }
    }

    @Test(
        arguments: [
            (1, "it answered: general failure"), (2, "it answered: connection not allowed by its rules"),
            (3, "it answered: network unreachable"), (4, "it answered: host unreachable"),
            (5, "it answered: connection refused"), (6, "it answered: TTL expired"),
            (7, "it answered: command not supported"), (8, "it answered: address type not supported"),
            (9, "it answered: unknown code 9"), (255, "it answered: unknown code 255"),
        ] as [(UInt8, String)])
    func noSuccess(code: UInt8, reason: String) throws {
        for rest: [UInt8] in [[], [0, 1, 0, 0, 0, 0, 0, 0], [0, 9, 9, 9]] {
            #expect(try verify([5, 0, 5, code] + rest).failure == TunnelFailure(reason: reason, status: Int(code)))
        }
    }

    @Test(arguments: [0, 2, 5, 255] as [UInt8]) func anUnknownTypeOfAddress(type: UInt8) throws {
        #expect(
            try verify([5, 0, 5, 0, 0, type, 0]).failure
                == .invalidResponse("its answer has an address of the unknown type \(type)"))
    }

    @Test func anotherVersion() throws {
        #expect(try verify([5, 0, 0]).failure == .invalidResponse("its answer is not SOCKS5"))
        #expect(try verify([5, 0, 4, 0]).failure == .invalidResponse("its answer is not SOCKS5"))
    }

    // MARK: -

    private func verify(_ answer: some Collection<UInt8>, user: String = "") throws -> TunnelVerifier.Exchange {
        try TunnelVerifier("socks5h://\(user)proxy.example").verify(Array(answer))
    }
}
