// One exchange of a ConnectAttempt over a socket, and the server or proxy at its other end, on the thread of the test.

import CLinux
import Testing

@testable import WebSocketEngine

protocol Exchange: AnyObject {
    associatedtype Progress: ExchangeProgress
    var transport: Transport { get }
    func advance(_ loop: inout LoopContext) -> Progress
}

protocol ExchangeProgress {
    var isPending: Bool { get }
}

extension HandshakeExchange: Exchange {}
extension ProxyExchange: Exchange {}

extension HandshakeExchange.Progress: ExchangeProgress {
    var isPending: Bool { if case .pending = self { true } else { false } }
}

extension ProxyExchange.Progress: ExchangeProgress {
    var isPending: Bool { if case .pending = self { true } else { false } }
}

final class TestExchange<Tested: Exchange>: LoopClient {
    let loop: TestLoop
    let peer: Peer
    private let exchange: Tested
    /// How the exchange ended.
    private(set) var outcome: Tested.Progress?

    /// Begins the exchange that `make` returns for a connected transport.
    init(_ make: (Transport, Address) throws -> Tested) throws {
        loop = try TestLoop()
        let listener = try Listener()
        let transport = try Transport(connecting: listener.address, slot: 0, &loop.context.poller)
        exchange = try make(transport, listener.address)
        peer = try listener.accept(loop)
        loop.client = self
        advance()
    }

    private func advance() {
        guard outcome == nil else { return }
        let progress = exchange.advance(&loop.context)
        if !progress.isPending { outcome = progress }
    }

    /// Runs the loop until the exchange has ended.
    func awaitOutcome(sourceLocation: SourceLocation = #_sourceLocation) throws -> Tested.Progress {
        try loop.run(until: { outcome != nil }, "it does not end", sourceLocation: sourceLocation)
        return try #require(outcome, sourceLocation: sourceLocation)
    }

    // MARK: - LoopClient

    func ready(_ readiness: Poller.Readiness, on loop: TestLoop) {
        if exchange.transport.shouldHandle(readiness) { advance() }
    }
}
