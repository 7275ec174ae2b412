// What goes out of an open connection: frames of the sendQueue, pongs, pings of our own and the Close, in one order, and the
// peer's signs of life. Called by whoever runs the loop.

import WebSocketProtocol

extension OpenConnection {
    /// Bytes on their way to the kernel beside which pongs wait in the protocol, where they are few.
    private static let pongLimit = 64 << 10
    /// Writes of one socket in a turn, so that the others get theirs; and bytes, since one write of a fast socket may
    /// take many milliseconds.
    private static let writesInTurn = 16
    private static let bytesInWrite = 1 << 20
    private static let bytesInTurn = 2 << 20
    /// During a burst of sends the engine can keep up and would do one tiny write for each message. After this many
    /// writes of less than `smallWrite` bytes it waits until `enough` bytes have come together.
    private static let smallWrites = 3
    private static let smallWrite = 16 << 10
    private static let enough = 128 << 10

    @inline(__always)
    func answerPings(_ loop: inout LoopContext) -> Progress {
        // 5.5.1: nothing comes behind a Close.
        guard connection.hasPongs, writeBuffer.count < Self.pongLimit, closing.allowsFrames else { return .going }
        return appendPongs(&loop) ? flush(&loop) : over()
    }

    /// False when memory or randomness is out.
    private func appendPongs(_ loop: inout LoopContext) -> Bool {
        while writeBuffer.count < Self.pongLimit, let payload = connection.dequeuePong() {
            guard writeBuffer.append(.pong, payload, socket.sendQueue, &loop.random) else { return false }
            socket.debugLine("sent PONG, \(payload.count) bytes", &loop.records)
        }
        return true
    }

    // MARK: - Out

    /// Writes frames, as far as the kernel takes them and the turn allows.
    func flush(_ loop: inout LoopContext) -> Progress {
        guard !closing.isWriteFailed else { return .going }
        writeBuffer.takeOwnership(socket.sendQueue)
        var smallWrites = 0
        var written = 0
        var compressed = 0
        for _ in 0..<Self.writesInTurn where written < Self.bytesInTurn && compressed < OutgoingDeflate.piece {
            if writeBuffer.isEmpty, connection.hasPongs, closing.allowsFrames {
                // Pongs go between two messages, so they need not wait until the sendQueue is empty.
                guard appendPongs(&loop) else { return over() }
            } else if writeBuffer.isEmpty {
                if smallWrites >= Self.smallWrites, linger(&loop) { return .going }
                switch fill(&loop) {
                case .made: break
                case .unfinished: return requestAnotherTurn(&loop)
                case .failed: return over()
                }
                if writeBuffer.isEmpty { return finishFlush(&loop) }
                compressed += writeBuffer.compressed
            }
            if writeBuffer.count < Self.smallWrite { smallWrites += 1 }
            switch transport.write(UnsafeRawBufferPointer(rebasing: writeBuffer.bytes.prefix(Self.bytesInWrite))) {
            case .bytes(let count):
                written += count
                writeBuffer.consume(count)
                noteSent(&loop)
                if writeBuffer.isEmpty {
                    if writeBuffer.isLarge { scheduleMemoryRelease(&loop) }
                    if closing.bytesLeft() == .finish { return .over }
                }
            case .wouldBlock:
                left(&loop)
                return .going
            case .end, .failed:
                // Nothing leaves any more, but what the peer sent before is still there to be read.
                let action = closing.writeFailed()
                left(&loop)
                return action == .finish ? .over : read(&loop)
            }
        }
        return requestAnotherTurn(&loop)
    }

    /// Nothing waits to be written.
    private func finishFlush(_ loop: inout LoopContext) -> Progress {
        isWriting = false
        watch(&loop)
        return .going
    }

    /// More is to be written than this turn allows.
    private func requestAnotherTurn(_ loop: inout LoopContext) -> Progress {
        left(&loop)
        transport.requestAnotherTurn(&loop)
        return .going
    }

    private func noteSent(_ loop: inout LoopContext) {
        acknowledgements.sent(loop.now)
        keepalive?.sent(loop.now, isSending: !writeBuffer.isEmpty)
        // As long as it takes bytes, the peer is alive.
        if closing.isCloseOnItsWay { renewClosingDeadline(&loop) }
    }

    /// Delays the write, so that the next messages go with it. Returns false when `enough` bytes wait already.
    private func linger(_ loop: inout LoopContext) -> Bool {
        guard writeBuffer.uncompressed == 0, !closing.isCloseQueued,
            socket.sendQueue.withLock({ $0.coalesce(until: Self.enough) })
        else { return false }
        loop.coalescing.append(token)
        isWriting = false
        watch(&loop)
        return true
    }

    func scheduleMemoryRelease(_ loop: inout LoopContext) { memoryDeadline = loop.now + Self.idleMemoryTimeout }

    /// Gives large memory back that was used a moment ago. What is in use comes here again once it is empty.
    func shrink(_ loop: inout LoopContext) {
        guard memoryDeadline != nil else { return }
        memoryDeadline = nil
        writeBuffer.shrink(socket.sendQueue)
        socket.queue.freePooledBlocks()
        loop.records.pool.removeAll()
    }

    /// The rest goes when the socket is writable again.
    func left(_ loop: inout LoopContext) {
        let taken = writeBuffer.taken
        socket.sendQueue.withLock { $0.inFlightBytes = taken }
        isWriting = true
        watch(&loop)
    }

    /// Takes from the sendQueue; our Close frame comes behind the last message.
    private func fill(_ loop: inout LoopContext) -> OutgoingDeflate.Step {
        let step = writeBuffer.refill(from: socket.sendQueue, &loop.random)
        guard case .made = step else { return step }
        if writeBuffer.isEmpty, let frame = closing.takeClose() {
            guard frame.body.withUnsafeBytes({ writeBuffer.append(.close, $0, socket.sendQueue, &loop.random) }) else {
                return .failed
            }
        }
        if socket.options.debug {
            for frame in writeBuffer.descriptions { socket.debugLine("sent \(frame)", &loop.records) }
        }
        return .made
    }

    // MARK: - Signs of life

    /// Bytes of ours wait that the kernel has not taken.
    private var isSending: Bool { !writeBuffer.isEmpty || socket.sendQueue.withLock { $0.count } > 0 }

    func keepAlive(_ loop: inout LoopContext) -> Progress {
        guard keepalive != nil, keepalive!.deadline <= loop.now else { return .going }
        let isSending = isSending
        if let time = socket.sendQueue.withLock({ $0.lastDirectWrite }) { keepalive!.sent(time, isSending: false) }
        if keepalive!.asksForAcknowledgement, let latest = transport.acknowledgement(loop.now) {
            keepalive!.acknowledged(latest, isSending: isSending, loop.now)
        }
        switch keepalive!.due(loop.now, isSending: isSending) {
        case .nothing: return .going
        case .gone:
            failed?(
                "timeout", "no sign of life within the pongtimeout of \(socket.options.pongTimeout) s after a ping",
                &loop)
            return over(byUs: true)
        case .ping(let payload):
            guard withUnsafeBytes(of: payload, { writeBuffer.append(.ping, $0, socket.sendQueue, &loop.random) }) else {
                return over()
            }
            socket.debugLine("sent PING, 8 bytes, of the keepalive", &loop.records)
            return flush(&loop)
        }
    }

    /// Gives the connection up when the peer has acknowledged nothing for too long.
    func checkAcknowledgements(_ loop: inout LoopContext) -> Progress {
        guard let deadline = acknowledgements.deadline, deadline <= loop.now else { return .going }
        // Under the lock: a write of Lua's thread is either seen here or asks for the next look.
        let verdict = socket.sendQueue.withLock { sendQueue in
            let verdict = acknowledgements.check(transport.acknowledgement(loop.now), loop.now)
            sendQueue.watchAcknowledgements(acknowledgements.deadline != nil)
            return verdict
        }
        guard verdict == .gone else { return .going }
        failed?(
            "timeout", "the peer's system has acknowledged nothing for \(Int(AcknowledgementTimeout.limit.seconds)) s",
            &loop)
        return over(byUs: true)
    }
}
