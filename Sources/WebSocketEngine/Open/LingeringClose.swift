// A socket whose WebSocket connection is over. It is the server that closes TCP first (RFC 6455 section 7.1.1), and
// closing ours with bytes unread would reset the connection, so that our Close frame might be lost: what still comes is
// read and thrown away, until the peer closes or the time is over. Session owns it; whoever runs the loop calls it.

import WebSocketProtocol

final class LingeringClose {
    private let transport: Transport
    /// When the socket is closed, whether the peer has closed its side or not.
    let deadline: Nanoseconds

    /// Nanoseconds that a peer gets to close its side.
    private static let patience = Nanoseconds(seconds: 5)

    /// - Parameter fails: the connection has failed: we close our side at once (section 7.1.7).
    init(_ transport: Transport, fails: Bool, _ loop: inout LoopContext) {
        self.transport = transport
        deadline = loop.now + Self.patience
        if fails { transport.shutDownWriting() } else { transport.sendCloseNotify() }
        transport.watchForDiscard(loop.poller)
    }

    /// Reads what there is. True when the peer has closed its side.
    func isOver(_ loop: inout LoopContext) -> Bool {
        for _ in 0..<Transport.maxReadsPerTurn {
            switch transport.discard(into: loop.readBuffer) {
            case .bytes: continue
            case .wouldBlock: return false
            case .end, .failed: return true
            }
        }
        transport.requestAnotherTurn(&loop)
        return false
    }

    func ready(_ readiness: Poller.Readiness, _ loop: inout LoopContext) -> Bool {
        transport.shouldHandle(readiness) && isOver(&loop)
    }
}
