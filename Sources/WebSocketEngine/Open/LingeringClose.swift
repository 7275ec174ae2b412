// A socket whose WebSocket connection is over. The server closes TCP first (RFC 6455 section 7.1.1). Closing a socket with
// bytes unread would reset the connection, and our Close frame might be lost. So bytes that still come are read and
// discarded, until the peer closes or 5 s have passed. Session owns it, on the thread that runs the loop.

import WebSocketProtocol

final class LingeringClose {
    private let transport: Transport
    /// When to close the socket, even if the peer has not closed its side.
    let deadline: Nanoseconds

    private static let timeout = Nanoseconds(seconds: 5)

    /// - Parameter closesNow: our side is closed at once: the server's, and a client's whose WebSocket connection has failed
    ///   (section 7.1.7).
    init(_ transport: Transport, closesNow: Bool, _ loop: inout LoopContext) {
        self.transport = transport
        deadline = loop.now + Self.timeout
        if closesNow { transport.shutDownWriting() } else { transport.sendCloseNotify() }
        transport.watchForDiscard(loop.poller)
    }

    /// Discards what there is. True when the peer has closed its side.
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
