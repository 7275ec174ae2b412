// Tunnel for both kinds of proxies; HTTPConnectTests and SOCKS5Tests have the rest.

import Testing

@testable import WebSocketProtocol

@Suite struct TunnelTests {
    @Test func outputIsTheCallers() throws {
        var tunnel = try Tunnel(Proxy("socks5h://p"), to: "h", port: 80, userAgent: "test/1")
        #expect(tunnel.output.array == [5, 1, 0])
        tunnel.output.didRead(1)
        #expect(try !tunnel.receive([5, 0]))
        #expect(tunnel.output.array == [1, 0] + [5, 1, 0, 3, 1, 0x68, 0, 80])
    }

    @Test(arguments: [
        ("http://p", Array("HTTP/1.1 200 OK\r\n\r\n".utf8)), ("socks5://p", [5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
    ])
    func anEstablishedTunnelStaysEstablished(proxy: String, answer: [UInt8]) throws {
        var tunnel = try Tunnel(Proxy(proxy), to: "h", port: 80, userAgent: "test/1")
        #expect(try !tunnel.receive([]))
        #expect(try tunnel.receive(answer))
        #expect(try tunnel.receive([]))
        #expect(throws: TunnelFailure.moreThanAnAnswer) { try tunnel.receive([0]) }
        #expect(throws: TunnelFailure.moreThanAnAnswer) { try tunnel.receive([0, 0]) }
    }

    /// Right answers with some bytes changed, and noise. Every cut gives the same verdict, and a call after a failure
    /// does not trap.
    @Test(arguments: ["http://p", "http://u:p@p", "socks5://p", "socks5h://u:p@p"]) func anyAnswer(proxy: String) throws
    {
        var generator = SeededGenerator(seed: 5)
        let verifier = try TunnelVerifier(proxy)
        var outcomes: [String: Int] = [:]
        for _ in 0..<10_000 {
            let answer = answer(verifier.proxy, &generator)
            let whole = try verifier.feed([answer[...]])
            outcomes[whole.failure?.reason ?? "\(whole.outcome)", default: 0] += 1
            let other = try verifier.feed(cut(answer, &generator))
            #expect(other == whole, "\(answer)")
            var tunnel = try Tunnel(verifier.proxy, to: "h", port: 80, userAgent: "test/1")
            for piece in cut(answer, &generator) { _ = try? tunnel.receive(Array(piece)) }
        }
        // Some of the changed answers still succeed.
        #expect(outcomes["established", default: 0] > 50)
        #expect(outcomes["pending", default: 0] > 50)
        #expect(outcomes.count > 10)
    }

    private func answer(_ proxy: Proxy, _ generator: inout SeededGenerator) -> [UInt8] {
        if Int.random(in: 0..<8, using: &generator) == 0 {
            return (0..<Int.random(in: 0..<40, using: &generator)).map { _ in .random(in: 0...255, using: &generator) }
        }
        let right: [[UInt8]] =
            switch proxy.kind {
            case .http:
                ["HTTP/1.1 200 OK\r\nA: b\r\n\r\n", "HTTP/1.1 100 x\r\n\r\n\nHTTP/1.0 204\n\n"].map { Array($0.utf8) }
            case .socks5, .socks5h:
                [
                    [5, 0, 5, 0, 0, 1, 127, 0, 0, 1, 0, 80], [5, 0, 5, 0, 0, 3, 2, 0x68, 0x69, 0, 80],
                    [5, 2, 1, 0, 5, 0, 0, 4] + Array(repeating: 1, count: 18),
                ]
            }
        var answer = right.randomElement(using: &generator)!
        for _ in 0..<Int.random(in: 0...3, using: &generator) {
            let place = Int.random(in: 0...answer.count, using: &generator)
            let end = min(answer.count, place + Int.random(in: 0...2, using: &generator))
            let new = (0..<Int.random(in: 0...2, using: &generator)).map { _ in
                [0, 1, 5, 10, 13, 0x20, 0x31, UInt8.random(in: 0...255, using: &generator)]
                    .randomElement(using: &generator)!
            }
            answer.replaceSubrange(place..<end, with: new)
        }
        return answer
    }

    private func cut(_ answer: [UInt8], _ generator: inout SeededGenerator) -> [ArraySlice<UInt8>] {
        var pieces: [ArraySlice<UInt8>] = []
        var rest = answer[...]
        while !rest.isEmpty {
            let count = Int.random(in: 0...min(rest.count, 5), using: &generator)
            pieces.append(rest.prefix(count))
            rest = rest.dropFirst(count)
        }
        return pieces
    }
}
