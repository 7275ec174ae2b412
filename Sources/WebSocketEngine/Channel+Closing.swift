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
        if isDone { return .over }
        transport.goOn(&reactor)
        return flush(&reactor)
    }

    /// Lua has no memory for a message of this many bytes, and has told the script: fails the connection with 1009.
    func refuse(_ bytes: Int, _ reactor: inout Reactor) -> Progress {
        guard end == nil else { return .going }
        let failure = ProtocolFailure(.tooBig, "Lua has no memory for a message of \(bytes) bytes")
        socket.note("failed: \(failure.reason)", &reactor.log)
        connection.fail(failure)
        end = .failed(failure)
        isConcluded = true
        isRemote = false
        if isPaused { unpause(&reactor) }
        renewDeadline(&reactor)
        if isBroken { return .over }
        if sent == nil, toSend == nil { begin(CloseFrame(code: failure.code), &reactor) }
        return flush(&reactor)
    }

    private func begin(_ frame: CloseFrame, _ reactor: inout Reactor) {
        toSend = frame
        closingSince = reactor.now
        transport.stopProbes()
        socket.outbox.withLock { outbox in
            // Where the script has called `close` its own word stands.
            if outbox.isOpen { socket.entered(.closing, outbox) }
            outbox.stop()
        }
        renewDeadline(&reactor)
    }

    /// Whether nothing more is to be exchanged: both Close frames have passed, or ours, with which the connection failed,
    /// has left. The socket is then seen to by a Farewell.
    var isDone: Bool {
        guard wire.isEmpty, sent != nil else { return false }
        if case .failed = end { return isConcluded }
        return received != nil
    }

    /// Whether the time for the peer's part of the closing handshake begins anew: the peer's system has acknowledged
    /// something meanwhile, so frames that were sent before are still on their way to a slow reader.
    func hasNewsOfPeer(_ reactor: inout Reactor) -> Bool {
        let timeout = Nanoseconds(seconds: socket.options.closeTimeout)
        guard !isBroken, let latest = transport.acknowledgement(reactor.now), latest.latest + timeout > reactor.now
        else { return false }
        // A reader that has our Close in its system gets no more than this to come to it.
        let mayPause = latest.outstanding > 0 || reactor.now < closingSince + AcknowledgementWatch.limit
        guard mayPause else { return false }
        endsAt = latest.latest + timeout
        return true
    }

    func renewDeadline(_ reactor: inout Reactor) {
        endsAt = reactor.now + Nanoseconds(seconds: socket.options.closeTimeout)
    }

    /// Nobody will catch up with the events, and the peer's answer is behind them.
    func abandon(_ reactor: inout Reactor) -> Progress {
        guard isPaused else { return .going }
        unpause(&reactor)
        return end == nil ? read(&reactor) : conclude(&reactor)
    }

    /// Both Close frames were exchanged: the kernel has taken all of ours.
    var isClean: Bool { received != nil && sent != nil && wire.isEmpty }

    /// How it ended; nothing leaves any more.
    func summary() -> Summary {
        // Behind a clean end the peer has read everything.
        let unacknowledged = isClean ? 0 : transport.unacknowledged
        let unsent = socket.outbox.withLock { $0.close() } + unacknowledged
        return Summary(
            code: received?.code ?? .abnormal, reason: received?.reason ?? "", isClean: isClean, isRemote: isRemote,
            unsent: unsent)
    }
}
