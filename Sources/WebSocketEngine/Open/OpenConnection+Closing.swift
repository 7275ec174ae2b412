// How an open connection ends: the closing handshake (RFC 6455 section 7), the peer's Close and failures that wait until
// Lua has delivered what came before them, and what is told of it.

import WebSocketProtocol

extension OpenConnection {
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
    func close(_ frame: CloseFrame, _ loop: inout LoopContext) -> Progress {
        guard toSend == nil, sent == nil else { return .going }
        if end == nil { isRemote = false }
        begin(frame, &loop)
        return flush(&loop)
    }

    /// Answers the peer's Close (5.5.1), or fails the connection (7.1.7).
    func conclude(_ loop: inout LoopContext) -> Progress {
        guard !isConcluded, let end else { return .going }
        isConcluded = true
        isPaused = false
        renewDeadline(&loop)
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
            failed?(kind, failure.reason, &loop)
            answer = failure.code
        }
        // No answer can leave, and nothing can come any more.
        if isBroken { return .over }
        if sent == nil, toSend == nil { begin(CloseFrame(code: answer), &loop) }
        if isDone { return .over }
        transport.requestAnotherTurn(&loop)
        return flush(&loop)
    }

    /// Lua has no memory for a message of this many bytes, and has told the script: fails the connection with 1009.
    func refuse(_ bytes: Int, _ loop: inout LoopContext) -> Progress {
        guard end == nil else { return .going }
        let failure = ProtocolFailure(.tooBig, "Lua has no memory for a message of \(bytes) bytes")
        socket.note("failed: \(failure.reason)", &loop.log)
        connection.fail(failure)
        end = .failed(failure)
        isConcluded = true
        isRemote = false
        if isPaused { unpause(&loop) }
        renewDeadline(&loop)
        if isBroken { return .over }
        if sent == nil, toSend == nil { begin(CloseFrame(code: failure.code), &loop) }
        return flush(&loop)
    }

    private func begin(_ frame: CloseFrame, _ loop: inout LoopContext) {
        toSend = frame
        closingSince = loop.now
        transport.stopProbes()
        socket.sendQueue.withLock { sendQueue in
            // Where the script has called `close` its own word stands.
            if sendQueue.isOpen { socket.entered(.closing, sendQueue) }
            sendQueue.stop()
        }
        renewDeadline(&loop)
    }

    /// Whether nothing more is to be exchanged: both Close frames have passed, or ours, with which the connection failed,
    /// has left. The socket is then seen to by a LingeringClose.
    var isDone: Bool {
        guard wire.isEmpty, sent != nil else { return false }
        if case .failed = end { return isConcluded }
        return received != nil
    }

    /// Whether the time for the peer's part of the closing handshake begins anew: the peer's system has acknowledged
    /// something meanwhile, so frames that were sent before are still on their way to a slow reader.
    func hasNewsOfPeer(_ loop: inout LoopContext) -> Bool {
        let timeout = Nanoseconds(seconds: socket.options.closeTimeout)
        guard !isBroken, let latest = transport.acknowledgement(loop.now), latest.latest + timeout > loop.now
        else { return false }
        // A reader that has our Close in its system gets no more than this to come to it.
        let mayPause = latest.outstanding > 0 || loop.now < closingSince + AcknowledgementTimeout.limit
        guard mayPause else { return false }
        endsAt = latest.latest + timeout
        return true
    }

    func renewDeadline(_ loop: inout LoopContext) {
        endsAt = loop.now + Nanoseconds(seconds: socket.options.closeTimeout)
    }

    /// Nobody will catch up with the events, and the peer's answer is behind them.
    func abandon(_ loop: inout LoopContext) -> Progress {
        guard isPaused else { return .going }
        unpause(&loop)
        return end == nil ? read(&loop) : conclude(&loop)
    }

    /// Both Close frames were exchanged: the kernel has taken all of ours.
    var isClean: Bool { received != nil && sent != nil && wire.isEmpty }

    /// How it ended; nothing leaves any more.
    func summary() -> Summary {
        // Behind a clean end the peer has read everything.
        let unacknowledged = isClean ? 0 : transport.unacknowledged
        let unsent = socket.sendQueue.withLock { $0.close() } + unacknowledged
        return Summary(
            code: received?.code ?? .abnormal, reason: received?.reason ?? "", isClean: isClean, isRemote: isRemote,
            unsent: unsent)
    }
}
