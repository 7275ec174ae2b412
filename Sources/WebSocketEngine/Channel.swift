// An open connection, up to the moment its socket is closed: bytes between the socket, the protocol, the
// outbox and the event log, and the closing handshake (RFC 6455 section 7).

import CEvents
import WebSocketProtocol

final class Channel {
    /// Whether it goes on; once it is over, `summary` tells how it ended.
    enum Progress { case going, over }

    let socket: WebSocket
    let transport: Transport
    var isPaused = false
    /// Whether there is more to write than the last turn could.
    private var isWriting = false
    /// Whether a write has failed.
    var isBroken = false
    /// How much of the read buffer the next read may fill.
    private var room = Int.max
    /// When large memory is given back, if it is not used again until then.
    private var shrinksAt: Nanoseconds?
    /// When the peer's part of the closing handshake is waited for no longer, or Lua before an end.
    var endsAt: Nanoseconds?
    private var connection: Connection
    private var keepalive: Keepalive?
    private var wire: Wire

    // The closing handshake.
    var toSend: CloseFrame?
    var sent: CloseFrame?
    var received: CloseFrame?
    var isRemote = true
    /// The peer's Close, or why the connection fails: the last that counts of what the peer sends.
    var end: Connection.Outcome?
    var isConcluded = false
    /// Told why the connection breaks, before it is over.
    var failed: ((_ kind: String, _ reason: String, _ reactor: inout Reactor) -> Void)?

    /// What was read and has not been looked at: what came behind the handshake's answer, or would have been too much.
    private var unread: [UInt8]

    /// Pongs wait in the protocol, where they are few, while so much is on its way.
    private static let pongLimit = 64 << 10
    /// Before the end is dealt with, the script has so long for what came before it.
    private static let patience = Nanoseconds(seconds: 0.5)
    /// One socket may be written so often in a turn, so that the others get theirs.
    private static let writesInTurn = 16
    /// Behind a large frame comes another, most of the time: so much is read to see its header, and the rest straight to
    /// where it belongs.
    private static let headRoom = 4 << 10
    /// A read of so many bytes that ends within a message is one of many.
    private static let streamSize = 64 << 10
    /// Large memory that was not used for so long is given back.
    private static let memoryPatience = Nanoseconds(seconds: 0.5)
    /// A script in the middle of a burst is overtaken after each message: so often the engine writes the few bytes that
    /// there are by then, then it lets more come together.
    private static let smallWrites = 3
    private static let smallWrite = 16 << 10
    private static let enough = 128 << 10

    /// - Parameter key: random; tells the keepalive's pings from the script's.
    init(
        _ socket: WebSocket, _ transport: Transport, _ agreement: ClientHandshake.Agreement, _ early: [UInt8],
        epoch: UInt16, key: UInt32, now: Nanoseconds
    ) {
        self.socket = socket
        self.transport = transport
        unread = early
        connection = Connection(
            role: .client, socket: socket.id, epoch: epoch, maximumMessageSize: socket.options.maxMessageSize,
            inflating: agreement.deflate?.server, keepaliveKey: key, traces: socket.options.debug)
        if socket.options.pingInterval > 0 {
            keepalive = Keepalive(
                interval: socket.options.pingInterval, timeout: socket.options.pongTimeout, key: key, now: now)
        }
        var compression: Compression?
        if let direction = agreement.deflate?.client, let options = socket.options.deflate {
            compression = Compression(direction, options)
        }
        wire = Wire(compression)
    }

    var token: Poller.Token { transport.token }

    /// When `timeout` wants to be called.
    var deadline: Nanoseconds? {
        earlier(earlier(isSilenced ? nil : endsAt, shrinksAt), keepalive == nil || isEnding ? nil : keepalive?.deadline)
    }

    /// Whether the answer to our Close may wait unread: its time is to come.
    private var isSilenced: Bool { isPaused && end == nil }

    /// Whether the closing handshake has begun, or the connection fails: keepalive has nothing more to say.
    private var isEnding: Bool { end != nil || sent != nil || toSend != nil || isBroken }

    /// Lets the script send.
    func open() {
        let deflates = wire.deflates
        // What goes past the engine can't be told.
        let direct = deflates || socket.options.debug ? nil : transport.direct
        socket.outbox.withLock { $0.open(direct: direct, deflating: deflates) }
    }

    /// Takes what has already come.
    func start(_ reactor: inout Reactor) -> Progress {
        watch(&reactor)
        return read(&reactor)
    }

    func ready(_ readiness: Poller.Readiness, _ reactor: inout Reactor) -> Progress {
        guard transport.heeds(readiness) else { return .going }
        let ready = transport.ready(readiness)
        if ready.contains(.write), isWriting, flush(&reactor) == .over { return .over }
        return ready.contains(.read) ? read(&reactor, ends: readiness.ends) : .going
    }

    private func watch(_ reactor: inout Reactor) {
        var interest: Poller.Interest = isPaused ? [] : .read
        if isWriting, !isBroken { interest.insert(.write) }
        transport.watch(interest, reactor.poller)
    }

    // MARK: - In

    /// Reads what there is.
    /// - Parameter ends: whether there may be an end to read behind the last bytes.
    private func read(_ reactor: inout Reactor, ends: Bool = true) -> Progress {
        var total = 0
        // Without what goes straight to its place: Lua's copy of it is the cheaper the nearer it follows, and three threads
        // (the peer's is one) are too many for two processors.
        var parsed = 0
        defer {
            let hasMore = total >= reactor.input.count || connection.isInMessage
            if parsed >= Self.streamSize, hasMore { reactor.isStreaming = true }
        }
        for _ in 0..<Transport.readsInTurn where total < reactor.input.count {
            guard !isPaused else { break }
            if !unread.isEmpty {
                var input: [UInt8] = []
                swap(&input, &unread)
                total += input.count
                guard input.withUnsafeMutableBytes({ parse($0, &reactor) }) == .going else { return .over }
                continue
            }
            let direct = connection.directSpace(&reactor.log)
            let target = direct ?? UnsafeMutableRawBufferPointer(rebasing: reactor.input.prefix(room))
            room = direct == nil ? reactor.input.count : Self.headRoom
            switch transport.read(into: target) {
            case .wouldBlock:
                watch(&reactor)
                transport.readLater(&reactor)
                return isBroken ? .over : .going
            case .end:
                if transport.tls?.isTruncated == true {
                    socket.note("TLS: the peer closed the connection without close_notify", &reactor.log)
                }
                return .over
            case .failed(let fault):
                socket.note("the connection broke: \(fault.words)", &reactor.log)
                // Behind the peer's Close, or a failure, nothing counts any more (RFC 6455 1.4).
                if end == nil, case .tls = fault { failed?("tls", fault.words, &reactor) }
                return .over
            case .bytes(let count):
                total += count
                if direct == nil {
                    parsed += count
                    let input = UnsafeMutableRawBufferPointer(rebasing: target[..<count])
                    guard parse(input, &reactor) == .going else { return .over }
                } else {
                    let outcome = connection.receivedDirectly(count, into: &reactor.log)
                    guard received(outcome, &reactor) == .going else { return .over }
                }
                // Fewer than there was room for: the next read would block.
                if count < target.count, !ends, !transport.hasPending, unread.isEmpty { return .going }
            }
        }
        if !isPaused { transport.goOn(&reactor) }
        return .going
    }

    /// Takes bytes of the peer.
    private func parse(_ input: UnsafeMutableRawBufferPointer, _ reactor: inout Reactor) -> Progress {
        let outcome = connection.receive(input, into: &reactor.log)
        // Before anything else may read on.
        if connection.unread > 0 { unread = Array(input.suffix(connection.unread)) }
        return received(outcome, &reactor)
    }

    /// Answers pings, hands the events of a read to Lua, then sees whether it was the last.
    private func received(_ outcome: Connection.Outcome, _ reactor: inout Reactor) -> Progress {
        if reactor.log.hasLent { shrinkLater(&reactor) }
        heard(&reactor)
        // First of all: an answer of the script to what came with the ping must not overtake the pong.
        let progress = answerPings(&reactor)
        socket.publish(&reactor.log)
        // Asked once: the answer to a second time would be that to the first.
        if !isPaused, socket.isFull {
            socket.note("reading stops until the script has caught up with maxqueued", &reactor.log)
            pause(&reactor)
        }
        switch outcome {
        case .open: return progress
        case .closed, .failed:
            guard end == nil else { return progress }
            end = outcome
            if case .closed = outcome { isRemote = sent == nil && toSend == nil } else { isRemote = false }
            // What came before may still be answered, as if there were one thread: Lua gets a moment for it.
            guard socket.pause(until: 0) else { return conclude(&reactor) }
            pause(&reactor)
            endsAt = reactor.now + Self.patience
            return .going
        }
    }

    private func heard(_ reactor: inout Reactor) {
        guard keepalive != nil else { return }
        keepalive!.received(reactor.now)
        guard let pong = connection.keepalivePong else { return }
        connection.keepalivePong = nil
        guard let latency = keepalive!.answered(pong, reactor.now) else { return }
        socket.measured(latency)
        socket.note("latency \(latency.seconds) s", &reactor.log)
    }

    /// Reads no more until Lua has caught up.
    private func pause(_ reactor: inout Reactor) {
        isPaused = true
        keepalive?.suspend()
        watch(&reactor)
    }

    func unpause(_ reactor: inout Reactor) {
        isPaused = false
        keepalive?.resume(reactor.now)
        if endsAt != nil, end == nil { renewDeadline(&reactor) }
        watch(&reactor)
    }

    /// Lua has caught up.
    func resume(_ reactor: inout Reactor) -> Progress {
        guard isPaused else { return .going }
        if end != nil {
            // What asked for this may have been a full queue before the end came.
            return socket.pause(until: 0) ? .going : conclude(&reactor)
        }
        unpause(&reactor)
        return read(&reactor)
    }

    private func answerPings(_ reactor: inout Reactor) -> Progress {
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

    /// Writes what waits, as far as the kernel takes it.
    func flush(_ reactor: inout Reactor) -> Progress {
        guard !isBroken else { return .going }
        wire.claim(socket.outbox)
        var smallWrites = 0
        for _ in 0..<Self.writesInTurn {
            if wire.isEmpty, connection.hasPongs, sent == nil {
                // Here they come between two messages, however many are still to come.
                guard appendPongs(&reactor) else { return .over }
            } else if wire.isEmpty {
                if smallWrites >= Self.smallWrites, linger(&reactor) { return .going }
                guard fill(&reactor) else { return .over }
                if wire.isEmpty {
                    isWriting = false
                    watch(&reactor)
                    if case .failed = end, sent != nil { transport.finish() }
                    return .going
                }
            }
            if wire.count < Self.smallWrite { smallWrites += 1 }
            switch transport.write(wire.bytes) {
            case .bytes(let count):
                wire.consume(count)
                if !wire.isEmpty { keepalive?.progressed(reactor.now) }
                // As long as it takes bytes, the peer is alive.
                if sent != nil || toSend != nil { renewDeadline(&reactor) }
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
        left(&reactor)
        transport.goOn(&reactor)
        return .going
    }

    /// What comes next goes in a moment, together. False when there is enough for a write.
    private func linger(_ reactor: inout Reactor) -> Bool {
        guard wire.uncompressed == 0, toSend == nil, socket.outbox.withLock({ $0.linger(until: Self.enough) })
        else { return false }
        reactor.lingering.append(token)
        isWriting = false
        watch(&reactor)
        return true
    }

    private func shrinkLater(_ reactor: inout Reactor) { shrinksAt = reactor.now + Self.memoryPatience }

    /// Gives large memory back that was used a moment ago. What is in use comes here again once it is empty.
    func shrink(_ reactor: inout Reactor) {
        guard shrinksAt != nil else { return }
        shrinksAt = nil
        wire.shrink(socket.outbox)
        socket.queue.freeSpares()
        reactor.log.freeSpares()
    }

    /// The rest goes when the socket is writable again.
    private func left(_ reactor: inout Reactor) {
        let taken = wire.taken
        socket.outbox.withLock { $0.taken = taken }
        isWriting = true
        watch(&reactor)
    }

    /// Takes from the outbox; our Close frame comes behind the last message. False when memory or randomness is out.
    private func fill(_ reactor: inout Reactor) -> Bool {
        guard wire.refill(from: socket.outbox, &reactor.random) else { return false }
        if wire.isEmpty, let frame = toSend {
            toSend = nil
            sent = frame
            guard frame.body.withUnsafeBytes({ wire.append(.close, $0, socket.outbox, &reactor.random) }) else {
                return false
            }
        }
        if socket.options.debug {
            for frame in wire.descriptions { socket.note("sent \(frame)", &reactor.log) }
        }
        return true
    }

    private func keepAlive(_ reactor: inout Reactor) -> Progress {
        switch keepalive?.due(reactor.now) ?? .nothing {
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

    // MARK: - Time

    func timeout(_ reactor: inout Reactor) -> Progress {
        if let shrinksAt, shrinksAt <= reactor.now { shrink(&reactor) }
        if !isEnding, keepAlive(&reactor) == .over { return .over }
        guard !isSilenced, let endsAt, endsAt <= reactor.now else { return .going }
        return end != nil && !isConcluded ? conclude(&reactor) : .over
    }
}
