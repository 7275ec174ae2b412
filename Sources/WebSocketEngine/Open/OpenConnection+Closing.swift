// How an open connection ends: performs what ClosingHandshake decides (RFC 6455 section 7), keeps its deadline, and
// reports the end. Runs on the thread that runs the loop.

import WebSocketProtocol

extension OpenConnection {
    /// What a CLOSE event reports.
    struct Summary {
        var result: ClosingHandshake.Result
        /// Bytes that the peer's system has not acknowledged.
        var unsent: Int
    }

    /// Nanoseconds that the script has, when the peer has ended the connection, to answer what came before.
    private static let scriptGracePeriod = Nanoseconds(seconds: 0.5)

    /// Begins the closing handshake, unless it has begun.
    func close(_ frame: CloseFrame, _ loop: inout LoopContext) -> Progress { perform(closing.close(frame), &loop) }

    /// Performs an action of the closing handshake.
    func perform(_ action: ClosingHandshake.Action, _ loop: inout LoopContext) -> Progress {
        switch action {
        case .none: return .going
        case .begin:
            closingProgress = ClosingProgress(transport.acknowledgement(loop.now), loop.now)
            transport.stopKeepAlive()
            websocket.sendQueue.withLock { $0.stop() }
            renewClosingDeadline(&loop)
            return flush(&loop)
        case .write: return flush(&loop)
        case .finish: return .over
        }
    }

    /// The connection is over, whatever the closing handshake has come to.
    /// - Parameters:
    ///   - byUs: the end is our decision.
    ///   - cause: in words, for a CLOSE event without a Close frame.
    func over(byUs: Bool = false, because cause: String) -> Progress {
        closing.end(byUs: byUs, cause: cause)
        return .over
    }

    /// A frame to send could not be made: allocation or the random source has failed.
    func frameFailed() -> Progress { over(because: "no memory, or no random number, for a frame to send") }

    /// How a socket has ended, in words; without a fault the peer has closed it.
    static func words(_ fault: Transport.Fault?) -> String {
        fault.map { "the connection broke: \($0.words)" } ?? "the peer closed the connection without a Close frame"
    }

    /// The peer's Close, or a failure, has come. It is handled when the script has delivered what came before.
    func peerEnded(_ outcome: MessageReader.Outcome, _ loop: inout LoopContext) -> Progress {
        switch outcome {
        case .open: return .going
        case .closed(let frame): closing.peerClosed(frame)
        case .failed(let failure): closing.peerFailed(failure)
        }
        guard websocket.requestResume(at: 0) else { return scriptCaughtUp(&loop) }
        pause(&loop)
        closingDeadline = loop.now + Self.scriptGracePeriod
        return .going
    }

    /// The script has delivered what came before the peer's end, or has had its time.
    func scriptCaughtUp(_ loop: inout LoopContext) -> Progress {
        guard closing.isWaitingForScript else { return .going }
        unpause(&loop)
        renewClosingDeadline(&loop)
        if let failure = closing.failure {
            let kind =
                switch failure.code {
                case .tooBig: "size"
                case .internalError: "system"
                default: "protocol"
                }
            onFailure?(kind, failure.reason, &loop)
        }
        // What follows in the socket is read to its end.
        transport.requestAnotherTurn(&loop)
        return perform(closing.scriptCaughtUp(), &loop)
    }

    /// Lua has no memory for a message of this many bytes, and has told the script: fails the connection with 1009.
    func refuse(_ bytes: Int, _ loop: inout LoopContext) -> Progress {
        guard !closing.hasPeerEnded else { return .going }
        let failure = ProtocolFailure(.tooBig, "Lua has no memory for a message of \(bytes) bytes")
        websocket.debugLine("failed: \(failure.reason)", &loop.records)
        reader.fail(failure)
        if isPaused { unpause(&loop) }
        renewClosingDeadline(&loop)
        return perform(closing.fail(failure), &loop)
    }

    /// The peer's time to answer our Close is over. Extends it while our bytes are on their way to a slow reader.
    func extendClosingDeadline(_ loop: inout LoopContext) -> Bool {
        let timeout = Nanoseconds(seconds: websocket.options.closeTimeout)
        guard !closing.isWriteFailed, let state = transport.acknowledgement(loop.now),
            let deadline = closingProgress.extendedDeadline(state, timeout: timeout, loop.now)
        else { return false }
        closingDeadline = deadline
        return true
    }

    func renewClosingDeadline(_ loop: inout LoopContext) {
        deadlineStoppedAt = loop.now
        closingDeadline = loop.now + Nanoseconds(seconds: websocket.options.closeTimeout)
    }

    /// The script is gone: stops waiting for it, and reads on to the peer's Close.
    func abandon(_ loop: inout LoopContext) -> Progress {
        guard isPaused else { return .going }
        unpause(&loop)
        return closing.hasPeerEnded ? scriptCaughtUp(&loop) : read(&loop)
    }

    /// Ends the connection, if it is not over, and frees the send queue.
    func finish() -> Summary {
        let cause = "the Lua state has ended"
        closing.end(byUs: true, cause: cause)
        let result = closing.result ?? ClosingHandshake.Result(cause: cause, isRemote: false)
        assert((result.code == .abnormal) == (result.cause != nil), "an end without a Close frame has a cause")
        // The peer's Close answers ours: it has read everything before it.
        let unacknowledged = result.isClean ? 0 : transport.unacknowledgedBytes
        let unwritten = unwrittenBytes
        let unsent = websocket.sendQueue.withLock { sendQueue in
            sendQueue.inFlightBytes = unwritten
            return sendQueue.close()
        }
        return Summary(result: result, unsent: unsent + unacknowledged)
    }

    /// Whether the peer is still to see our last frame and the end of the socket (LingeringClose).
    var lingers: Bool { closing.result?.isComplete == true && !hasSocketEnded }
}
