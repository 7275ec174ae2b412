// A socket whose WebSocket connection is over. It is the server that closes TCP first (RFC 6455 section 7.1.1), and
// closing ours with bytes unread would reset the connection, so that our Close frame might be lost: what still comes is
// read and thrown away, until the peer closes or the time is over. Session owns it; whoever runs the loop calls it.

import WebSocketProtocol

final class Farewell {
    private let transport: Transport
    /// When the socket is closed, whether the peer has closed its side or not.
    let deadline: Nanoseconds

    /// Nanoseconds that a peer gets to close its side.
    private static let patience = Nanoseconds(seconds: 5)

    /// - Parameter fails: the connection has failed: we close our side at once (section 7.1.7).
    init(_ transport: Transport, fails: Bool, _ reactor: inout Reactor) {
        self.transport = transport
        deadline = reactor.now + Self.patience
        if fails { transport.finish() } else { transport.finishTLS() }
        transport.watchForDiscard(reactor.poller)
    }

    /// Reads what there is. True when the peer has closed its side.
    func isOver(_ reactor: inout Reactor) -> Bool {
        for _ in 0..<Transport.readsInTurn {
            switch transport.discard(into: reactor.input) {
            case .bytes: continue
            case .wouldBlock: return false
            case .end, .failed: return true
            }
        }
        transport.goOn(&reactor)
        return false
    }

    func ready(_ readiness: Poller.Readiness, _ reactor: inout Reactor) -> Bool {
        transport.heeds(readiness) && isOver(&reactor)
    }
}
