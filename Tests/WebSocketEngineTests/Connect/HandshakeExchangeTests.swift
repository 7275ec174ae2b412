import CLinux
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

@Suite struct HandshakeExchangeTests {
    private func start(headers: HeaderFields = HeaderFields()) throws -> TestExchange<HandshakeExchange> {
        let handshake = ClientHandshake(
            url: try WebSocketURL("ws://127.0.0.1/"), headers: headers, subprotocols: [], deflate: nil,
            nonce: Array(0..<16), userAgent: "test")
        return try TestExchange { HandshakeExchange($0, $1, handshake) }
    }

    private func refusal(of test: TestExchange<HandshakeExchange>) throws -> HandshakeExchange.Refusal {
        let outcome = try test.awaitOutcome()
        guard case .refused(let refusal) = outcome else { throw SystemError("\(outcome)", 0) }
        return refusal
    }

    @Test func aResponseMayComeByteByByteWithFramesBehindIt() throws {
        let test = try start()
        let response = Array(Peer.response(to: try test.peer.receiveRequest(test.loop)).utf8)
        for byte in response.dropLast() {
            test.peer.send([byte])
            test.loop.runOnce()
            #expect(test.outcome == nil)
        }
        test.peer.send([response.last!, 0x81, 0, 0x82])
        let outcome = try test.awaitOutcome()
        guard case .completed(_, let rest) = outcome else { throw SystemError("\(outcome)", 0) }
        #expect(rest == [0x81, 0, 0x82])
    }

    @Test func aRequestThatTheSocketDoesNotTakeAtOnceArrivesWhole() throws {
        var headers = HeaderFields()
        headers.append("X-Large", String(repeating: "x", count: 8 << 20))
        let test = try start(headers: headers)
        let request = try test.peer.receiveRequest(test.loop)
        #expect(request.utf8.count > 8 << 20 && request.hasSuffix("x\r\n\r\n"))
    }

    @Test func aServerThatRefusesBeforeItHasTheRequestIsHeard() throws {
        var headers = HeaderFields()
        headers.append("X-Large", String(repeating: "x", count: 8 << 20))
        let test = try start(headers: headers)
        // It reads no more, and its socket says so to whoever writes.
        test.peer.send("HTTP/1.1 431 Too large\r\nContent-Length: 3\r\n\r\nwhy")
        #expect(try refusal(of: test).head.status == 431)
        #expect(try refusal(of: test).body == "why")
    }

    @Test func theBodyEndsWithTheConnection() throws {
        let test = try start()
        _ = try test.peer.receiveRequest(test.loop)
        test.peer.send("HTTP/1.1 500 No\r\n\r\nbecause")
        test.peer.close()
        let refusal = try refusal(of: test)
        #expect(refusal.body == "because" && refusal.head.status == 500)
        #expect(refusal.reason == "it answered 500 No instead of 101 Switching Protocols")
    }

    @Test func noMoreThanAKibibyteOfTheBodyIsKept() throws {
        let test = try start()
        _ = try test.peer.receiveRequest(test.loop)
        test.peer.send("HTTP/1.1 500 No\r\n\r\n" + String(repeating: "x", count: 5000))
        #expect(try refusal(of: test).body == String(repeating: "x", count: 1024))
    }

    @Test func aHeadWithoutAnEndIsNoResponse() throws {
        let test = try start()
        _ = try test.peer.receiveRequest(test.loop)
        test.peer.send(
            "HTTP/1.1 101 Switching\r\n"
                + String(repeating: "X: \(String(repeating: "y", count: 1000))\r\n", count: 200))
        let outcome = try test.awaitOutcome()
        guard case .invalidResponse = outcome else { throw SystemError("\(outcome)", 0) }
    }
}
