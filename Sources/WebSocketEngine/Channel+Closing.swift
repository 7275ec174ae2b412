// How an open connection ends: the closing handshake (RFC 6455 section 7), the peer's Close and failures that wait until
// Lua has delivered what came before them, and what is told of it.

import WebSocketProtocol

extension Channel {
    /// What a CLOSE event tells.
    struct Summary {
        var code: CloseCode
        var reason: String
        /// Both Close frames were exchanged.
        var isClean: Bool
        /// The peer began.
        var isRemote: Bool
        var unsent: Int
    }

    /// Begins the closing handshake, unless it has begun.
    func close(_ frame: CloseFrame, _ reactor: inout Reactor) -> Progress {
        guard toSend == nil, sent == nil else { return .going }
        if end == nil { isRemote = false }
        begin(frame, &reactor)
        return flush(&reactor)
    }

    /// Answers the peer's Close (5.5.1), or fails the connection (7.1.7).
    func conclude(_ reactor: inout Reactor) -> Progress {
        guard !isConcluded, let end else { return .going }
        isConcluded = true
        isPaused = false
        renewDeadline(&reactor)
        let answer: CloseCode
        switch end {
        case .open: return .going
        case .closed(let frame):
            received = frame
            answer = frame.code
        case .failed(let failure):
            let kind =
                switch failure.code {
                case .tooBig: "size"
                case .internalError: "system"
                default: "protocol"
                }
            failed?(kind, failure.reason, &reactor)
            answer = failure.code
        }
        // No answer can leave, and nothing can come any more.
        if isBroken { return .over }
        if sent == nil, toSend == nil { begin(CloseFrame(code: answer), &reactor) }
        transport.goOn(&reactor)
        return flush(&reactor)
    }

    private func begin(_ frame: CloseFrame, _ reactor: inout Reactor) {
        toSend = frame
        socket.outbox.withLock { $0.stop() }
        socket.entered(.closing)
        renewDeadline(&reactor)
    }

    func renewDeadline(_ reactor: inout Reactor) {
        endsAt = reactor.now + Nanoseconds(seconds: socket.options.closeTimeout)
    }

    /// Nobody will catch up with the events, and the peer's answer is behind them.
    func abandon(_ reactor: inout Reactor) -> Progress {
        guard isPaused else { return .going }
        unpause(&reactor)
        return end == nil ? .going : conclude(&reactor)
    }

    /// How it ended; nothing leaves any more.
    func summary() -> Summary {
        let unsent = socket.outbox.withLock { $0.close() }
        return Summary(
            code: received?.code ?? .abnormal, reason: received?.reason ?? "", isClean: received != nil && sent != nil,
            isRemote: isRemote, unsent: unsent)
    }
}
