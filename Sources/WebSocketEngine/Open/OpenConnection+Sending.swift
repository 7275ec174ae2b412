// Writing of an open connection: messages, pongs, pings of the keepalive and our Close, in one order; and the watch over the
// peer's signs of life. Runs on the thread that runs the loop.

import WebSocketProtocol

extension OpenConnection {
    /// Unwritten bytes beside which pongs stay in the reader, which keeps only the latest ones.
    private static let pongLimit = 64 << 10
    /// Writes, and bytes, of one connection in one turn: the other connections get their share. A single write is limited
    /// as well, since a fast socket can take many milliseconds for it.
    private static let writesPerTurn = 16
    private static let bytesPerWrite = 1 << 20
    private static let bytesPerTurn = 2 << 20

    @inline(__always)
    func answerPings(_ loop: inout LoopContext) -> Progress {
        // 5.5.1: no frame follows our Close.
        guard reader.hasPongs, writeBuffer.count < Self.pongLimit, closing.allowsFrames else { return .going }
        return appendPongs(&loop) ? flush(&loop) : frameFailed()
    }

    /// Returns false if allocation or the random source fails.
    private func appendPongs(_ loop: inout LoopContext) -> Bool {
        while writeBuffer.count < Self.pongLimit, let payload = reader.dequeuePong() {
            guard writeBuffer.append(.pong, payload, websocket.sendQueue, &loop.random) else { return false }
            websocket.debugLine("sent PONG, \(payload.count) bytes", &loop.records)
        }
        return true
    }

    /// Writes frames until there are none, the socket takes no more, or this turn's share is used up.
    func flush(_ loop: inout LoopContext) -> Progress {
        hasWritten = true
        let progress = writeFrames(&loop)
        websocket.reportFlushed(&loop.records)
        return progress
    }

    private func writeFrames(_ loop: inout LoopContext) -> Progress {
        guard !closing.isWriteFailed else { return .going }
        writeBuffer.takeOwnership(websocket.sendQueue)
        var coalescing = Coalescing()
        var written = 0
        var compressed = 0
        for _ in 0..<Self.writesPerTurn where written < Self.bytesPerTurn && compressed < OutgoingDeflate.bytesPerTurn {
            if writeBuffer.isEmpty, reader.hasPongs, closing.allowsFrames {
                // The buffer is empty, so this is between two messages: pongs need not wait for the whole queue.
                guard appendPongs(&loop) else { return frameFailed() }
            } else if writeBuffer.isEmpty {
                if coalescing.shouldDelay, delayWrite(&loop) { return .going }
                switch fill(&loop) {
                case .made: break
                case .unfinished: return continueNextTurn(&loop)
                case .failed: return frameFailed()
                }
                if writeBuffer.isEmpty {
                    isWaitingForWritable = false
                    updateInterest(&loop)
                    return .going
                }
                compressed += writeBuffer.lastCompressedCount
            }
            coalescing.willWrite(writeBuffer.count)
            switch transport.write(UnsafeRawBufferPointer(rebasing: writeBuffer.bytes.prefix(Self.bytesPerWrite))) {
            case .bytes(let count):
                written += count
                if didWrite(count, &loop) == .over { return .over }
            case .wouldBlock:
                waitUntilWritable(&loop)
                return .going
            case .end: return writeFailed(nil, &loop)
            case .failed(let fault): return writeFailed(fault, &loop)
            }
        }
        return continueNextTurn(&loop)
    }

    private func didWrite(_ count: Int, _ loop: inout LoopContext) -> Progress {
        writeBuffer.didWrite(count)
        acknowledgements.sent(loop.now)
        keepalive?.sent(loop.now, isSending: !writeBuffer.isEmpty)
        // A peer that takes bytes is alive.
        if closing.isCloseOnItsWay { renewClosingDeadline(&loop) }
        guard writeBuffer.isEmpty else { return .going }
        if writeBuffer.isLarge { idleMemory.didUseLargeBuffer(loop.now) }
        return closing.bytesLeft() == .finish ? .over : .going
    }

    private func writeFailed(_ fault: Transport.Fault?, _ loop: inout LoopContext) -> Progress {
        writeFault = fault
        let action = closing.writeFailed()
        waitUntilWritable(&loop)
        // What the peer sent before is still there to be read.
        return action == .finish ? .over : read(&loop)
    }

    /// Bytes that were taken from the send queue, or added by the loop, and that the kernel has not taken.
    var unwrittenBytes: Int { writeBuffer.count + writeBuffer.uncompressedCount }

    private func waitUntilWritable(_ loop: inout LoopContext) {
        let unwritten = unwrittenBytes
        websocket.sendQueue.withLock { $0.inFlightBytes = unwritten }
        isWaitingForWritable = true
        updateInterest(&loop)
    }

    /// This turn's share is used up.
    private func continueNextTurn(_ loop: inout LoopContext) -> Progress {
        waitUntilWritable(&loop)
        transport.requestAnotherTurn(&loop)
        return .going
    }

    /// Delays the next write. Returns false if enough bytes are queued.
    private func delayWrite(_ loop: inout LoopContext) -> Bool {
        guard writeBuffer.uncompressedCount == 0, !closing.isCloseQueued,
            websocket.sendQueue.withLock({ $0.coalesce(until: Coalescing.threshold) })
        else { return false }
        loop.coalescing.append(token)
        isWaitingForWritable = false
        updateInterest(&loop)
        return true
    }

    /// Refills the empty buffer. Our Close comes behind the last message.
    private func fill(_ loop: inout LoopContext) -> OutgoingDeflate.Step {
        let step = writeBuffer.refill(from: websocket.sendQueue, &loop.random)
        guard case .made = step else { return step }
        if writeBuffer.isEmpty, let frame = closing.takeClose() {
            let isAppended = frame.body.withUnsafeBytes {
                writeBuffer.append(.close, $0, websocket.sendQueue, &loop.random)
            }
            guard isAppended else { return .failed }
        }
        if websocket.options.debug {
            for frame in writeBuffer.descriptions { websocket.debugLine("sent \(frame)", &loop.records) }
        }
        return .made
    }

    // MARK: - The peer's signs of life

    func keepAlive(_ loop: inout LoopContext) -> Progress {
        guard keepalive != nil, keepalive!.deadline <= loop.now else { return .going }
        let (lastDirectWrite, queued) = websocket.sendQueue.withLock { ($0.lastDirectWrite, $0.count) }
        let isSending = !writeBuffer.isEmpty || queued > 0
        keepalive!.sent(lastDirectWrite, isSending: false)
        if keepalive!.needsAcknowledgement, let latest = transport.acknowledgement(loop.now) {
            keepalive!.acknowledged(latest, isSending: isSending, loop.now)
        }
        switch keepalive!.due(loop.now, isSending: isSending) {
        case .nothing: return .going
        case .gone:
            let timeout = websocket.options.pongTimeout
            return timedOut("no sign of life within the pongtimeout of \(timeout) s after a ping", &loop)
        case .ping(let payload):
            let isAppended = withUnsafeBytes(of: payload) {
                writeBuffer.append(.ping, $0, websocket.sendQueue, &loop.random)
            }
            guard isAppended else { return frameFailed() }
            websocket.debugLine("sent PING, 8 bytes, of the keepalive", &loop.records)
            return flush(&loop)
        }
    }

    /// Ends the connection when the peer has acknowledged nothing for too long.
    func checkAcknowledgements(_ loop: inout LoopContext) -> Progress {
        guard let deadline = acknowledgements.deadline, deadline <= loop.now else { return .going }
        // Under the lock: a direct write comes either before this look, or finds that the next look is to be asked for.
        let verdict = websocket.sendQueue.withLock { sendQueue in
            let verdict = acknowledgements.check(transport.acknowledgement(loop.now), loop.now)
            sendQueue.watchAcknowledgements(acknowledgements.deadline != nil)
            return verdict
        }
        guard verdict == .gone else { return .going }
        let seconds = Int(AcknowledgementTimeout.limit.seconds)
        return timedOut("the peer's system has acknowledged nothing for \(seconds) s", &loop)
    }

    private func timedOut(_ reason: String, _ loop: inout LoopContext) -> Progress {
        onFailure?("timeout", reason, &loop)
        return over(byUs: true, because: reason)
    }
}
