// What goes out of an open connection: frames of the outbox, pongs, pings of our own and the Close, in one order, and the
// peer's signs of life. Called by whoever runs the loop.

import WebSocketProtocol

extension Channel {
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
    func answerPings(_ reactor: inout Reactor) -> Progress {
        // 5.5.1: nothing comes behind a Close.
        guard connection.hasPongs, wire.count < Self.pongLimit, sent == nil else { return .going }
        return appendPongs(&reactor) ? flush(&reactor) : .over
    }

    /// False when memory or randomness is out.
    private func appendPongs(_ reactor: inout Reactor) -> Bool {
        while wire.count < Self.pongLimit, let payload = connection.nextPong() {
            guard wire.append(.pong, payload, socket.outbox, &reactor.random) else { return false }
            socket.note("sent PONG, \(payload.count) bytes", &reactor.log)
        }
        return true
    }

    // MARK: - Out

    /// Writes frames, as far as the kernel takes them and the turn allows.
    func flush(_ reactor: inout Reactor) -> Progress {
        guard !isBroken else { return .going }
        wire.claim(socket.outbox)
        var smallWrites = 0
        var written = 0
        var compressed = 0
        for _ in 0..<Self.writesInTurn where written < Self.bytesInTurn && compressed < Compression.piece {
            if wire.isEmpty, connection.hasPongs, sent == nil {
                // Pongs go between two messages, so they need not wait until the outbox is empty.
                guard appendPongs(&reactor) else { return .over }
            } else if wire.isEmpty {
                if smallWrites >= Self.smallWrites, linger(&reactor) { return .going }
                switch fill(&reactor) {
                case .made: break
                case .unfinished: return goOn(&reactor)
                case .failed: return .over
                }
                if wire.isEmpty { return finishFlush(&reactor) }
                compressed += wire.compressed
            }
            if wire.count < Self.smallWrite { smallWrites += 1 }
            switch transport.write(UnsafeRawBufferPointer(rebasing: wire.bytes.prefix(Self.bytesInWrite))) {
            case .bytes(let count):
                written += count
                wire.consume(count)
                noteSent(&reactor)
                if wire.isEmpty, wire.isLarge { shrinkLater(&reactor) }
            case .wouldBlock:
                left(&reactor)
                return .going
            case .end, .failed:
                // Nothing leaves any more, but what the peer sent before is still there to be read.
                isBroken = true
                left(&reactor)
                return read(&reactor)
            }
        }
        return goOn(&reactor)
    }

    /// Nothing waits to be written.
    private func finishFlush(_ reactor: inout Reactor) -> Progress {
        isWriting = false
        watch(&reactor)
        return isDone ? .over : .going
    }

    /// More is to be written than this turn allows.
    private func goOn(_ reactor: inout Reactor) -> Progress {
        left(&reactor)
        transport.goOn(&reactor)
        return .going
    }

    private func noteSent(_ reactor: inout Reactor) {
        acknowledgements.sent(reactor.now)
        keepalive?.sent(reactor.now, isSending: !wire.isEmpty)
        // As long as it takes bytes, the peer is alive.
        if sent != nil || toSend != nil { renewDeadline(&reactor) }
    }

    /// Delays the write, so that the next messages go with it. Returns false when `enough` bytes wait already.
    private func linger(_ reactor: inout Reactor) -> Bool {
        guard wire.uncompressed == 0, toSend == nil, socket.outbox.withLock({ $0.linger(until: Self.enough) })
        else { return false }
        reactor.lingering.append(token)
        isWriting = false
        watch(&reactor)
        return true
    }

    func shrinkLater(_ reactor: inout Reactor) { shrinksAt = reactor.now + Self.memoryPatience }

    /// Gives large memory back that was used a moment ago. What is in use comes here again once it is empty.
    func shrink(_ reactor: inout Reactor) {
        guard shrinksAt != nil else { return }
        shrinksAt = nil
        wire.shrink(socket.outbox)
        socket.queue.freeSpares()
        reactor.log.freeSpares()
    }

    /// The rest goes when the socket is writable again.
    func left(_ reactor: inout Reactor) {
        let taken = wire.taken
        socket.outbox.withLock { $0.taken = taken }
        isWriting = true
        watch(&reactor)
    }

    /// Takes from the outbox; our Close frame comes behind the last message.
    private func fill(_ reactor: inout Reactor) -> Compression.Step {
        let step = wire.refill(from: socket.outbox, &reactor.random)
        guard case .made = step else { return step }
        if wire.isEmpty, let frame = toSend {
            toSend = nil
            sent = frame
            guard frame.body.withUnsafeBytes({ wire.append(.close, $0, socket.outbox, &reactor.random) }) else {
                return .failed
            }
        }
        if socket.options.debug {
            for frame in wire.descriptions { socket.note("sent \(frame)", &reactor.log) }
        }
        return .made
    }

    // MARK: - Signs of life

    /// Bytes of ours wait that the kernel has not taken.
    private var isSending: Bool { !wire.isEmpty || socket.outbox.withLock { $0.count } > 0 }

    func keepAlive(_ reactor: inout Reactor) -> Progress {
        guard keepalive != nil, keepalive!.deadline <= reactor.now else { return .going }
        let isSending = isSending
        if let time = socket.outbox.withLock({ $0.writtenAt }) { keepalive!.sent(time, isSending: false) }
        if keepalive!.asksForAcknowledgement, let latest = transport.acknowledgement(reactor.now) {
            keepalive!.acknowledged(latest, isSending: isSending, reactor.now)
        }
        switch keepalive!.due(reactor.now, isSending: isSending) {
        case .nothing: return .going
        case .gone:
            failed?(
                "timeout", "no sign of life within the pongtimeout of \(socket.options.pongTimeout) s after a ping",
                &reactor)
            isRemote = false
            return .over
        case .ping(let payload):
            guard withUnsafeBytes(of: payload, { wire.append(.ping, $0, socket.outbox, &reactor.random) }) else {
                return .over
            }
            socket.note("sent PING, 8 bytes, of the keepalive", &reactor.log)
            return flush(&reactor)
        }
    }

    /// Gives the connection up when the peer has acknowledged nothing for too long.
    func checkAcknowledgements(_ reactor: inout Reactor) -> Progress {
        guard let deadline = acknowledgements.deadline, deadline <= reactor.now else { return .going }
        // Under the lock: a write of Lua's thread is either seen here or asks for the next look.
        let verdict = socket.outbox.withLock { outbox in
            let verdict = acknowledgements.check(transport.acknowledgement(reactor.now), reactor.now)
            outbox.watch(acknowledgements.deadline != nil)
            return verdict
        }
        guard verdict == .gone else { return .going }
        failed?(
            "timeout", "the peer's system has acknowledged nothing for \(Int(AcknowledgementWatch.limit.seconds)) s",
            &reactor)
        isRemote = false
        return .over
    }
}
