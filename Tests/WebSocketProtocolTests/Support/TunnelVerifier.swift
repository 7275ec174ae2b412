// Feeds a proxy's bytes to new tunnels, whole and in every cut. The outcome and the bytes sent must be the same.

import Testing

@testable import WebSocketProtocol

struct TunnelVerifier {
    enum Outcome: Equatable {
        case pending
        case established
        case failed(TunnelFailure)
    }

    struct Exchange: Equatable {
        var outcome: Outcome
        var sent: [UInt8]

        var failure: TunnelFailure? { if case .failed(let failure) = outcome { failure } else { nil } }
    }

    let proxy: Proxy
    let host: String
    let port: Int

    init(_ proxy: String, to host: String = "server.example", port: Int = 443) throws {
        self.proxy = try Proxy(proxy)
        self.host = host
        self.port = port
    }

    /// The exchange for the whole input, after a check that every cut gives the same.
    @discardableResult
    func verify(_ input: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) throws -> Exchange {
        let whole = try feed([input[...]])
        func same(_ other: Exchange, _ how: String) {
            #expect(other == whole, "fed \(how)", sourceLocation: sourceLocation)
        }
        for cut in Cut.all(of: input) { same(try feed(cut.pieces), cut.description) }
        return whole
    }

    func verify(_ input: String, sourceLocation: SourceLocation = #_sourceLocation) throws -> Exchange {
        try verify(Array(input.utf8), sourceLocation: sourceLocation)
    }

    func feed(_ pieces: [ArraySlice<UInt8>]) throws -> Exchange {
        var tunnel = try Tunnel(proxy, to: host, port: port, userAgent: "test/1")
        var outcome = Outcome.pending
        do throws(TunnelFailure) {
            for piece in pieces where try tunnel.receive(Array(piece)) { outcome = .established }
        } catch {
            outcome = .failed(error)
        }
        return Exchange(outcome: outcome, sent: tunnel.output.array)
    }
}

extension Tunnel {
    mutating func receive(_ bytes: [UInt8]) throws(TunnelFailure) -> Bool {
        let copy = ByteBuffer(bytes)
        return try receive(UnsafeRawBufferPointer(copy.bytes))
    }
}
