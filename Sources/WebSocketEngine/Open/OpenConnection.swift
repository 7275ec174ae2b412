// An open connection, from the opening handshake to the end of the closing one: bytes between the socket, the protocol,
// the sendQueue and the event log. This file reads and keeps the deadlines; Channel+Sending writes, Channel+Closing ends the
// connection (RFC 6455 section 7). Only whoever runs the loop touches it.

import CEvents
import WebSocketProtocol

final class OpenConnection {
    /// Whether it goes on; once it is over, `summary` tells how it ended.
    enum Progress { case going, over }

    let socket: WebSocket
    let transport: Transport
    var isPaused = false
    /// Whether there is more to write than the last turn could.
    var isWriting = false
    /// Whether the peer has closed its side of the socket, or the socket is broken.
    private(set) var hasEnded = false
    /// How much of the read buffer the next read may fill.
    private var room = Int.max
    /// When large memory is given back, if it is not used again until then.
    var memoryDeadline: Nanoseconds?
    /// The closing handshake. While it is open no deadline of its own counts.
    var closing = ClosingHandshake()
    /// When our Close was queued.
    var closeQueuedAt: Nanoseconds = 0
    /// While the script has to catch up: when it has had its time. Later: when the peer has had its time to answer.
    var closingDeadline: Nanoseconds?
    var connection: MessageReader
    var keepalive: Keepalive?
    /// Whether what was sent is acknowledged.
    var acknowledgements = AcknowledgementTimeout()
    var writeBuffer: WriteBuffer

    /// Told why the connection breaks, before it is over.
    var failed: ((_ kind: String, _ reason: String, _ loop: inout LoopContext) -> Void)?

    /// What was read and has not been looked at: what came behind the handshake's answer, or would have been too much.
    private var unread: [UInt8]

    /// Behind a large frame comes another, most of the time: so much is read to see its header, and the rest straight to
    /// where it belongs.
    private static let headRoom = 4 << 10
    /// A read of so many bytes that ends within a message is one of many.
    private static let streamSize = 64 << 10
    /// Large memory that was not used for so long is given back.
    static let idleMemoryTimeout = Nanoseconds(seconds: 0.5)
    /// - Parameter key: random; tells the keepalive's pings from the script's.
    init(
        _ socket: WebSocket, _ transport: Transport, _ agreement: ClientHandshake.Agreement, _ early: [UInt8],
        key: UInt32, now: Nanoseconds, thresholds: Thresholds = Thresholds()
    ) {
        self.socket = socket
        self.transport = transport
        unread = early
        connection = MessageReader(
            role: .client, socket: socket.id, maximumMessageSize: socket.options.maxMessageSize,
            inflating: agreement.deflate?.server, keepaliveKey: key, traces: socket.options.debug,
            thresholds: thresholds)
        if socket.options.pingInterval > 0 {
            keepalive = Keepalive(
                interval: socket.options.pingInterval, timeout: socket.options.pongTimeout, key: key, now: now)
            // Our pings do what these do, and answers to these would be taken for signs of life.
            transport.stopKeepAlive()
        }
        var compression: OutgoingDeflate?
        if let direction = agreement.deflate?.client, let options = socket.options.deflate {
            compression = OutgoingDeflate(direction, options)
        }
        writeBuffer = WriteBuffer(compression)
    }

    var token: Poller.Token { transport.token }

    /// When `timeout` wants to be called.
    @inline(__always)
    var deadline: Nanoseconds? {
        var deadline = memoryDeadline ?? .max
        if let closingDeadline, !isPausedByQueue { deadline = min(deadline, closingDeadline) }
        if closing.isOpen {
            deadline = min(deadline, acknowledgements.deadline ?? .max)
            if let keepalive { deadline = min(deadline, keepalive.deadline) }
        }
        return deadline == .max ? nil : deadline
    }

    /// Whether reading is paused because of `maxqueued`: the peer's answer to our Close may wait unread in the socket, so its
    /// time has not begun.
    var isPausedByQueue: Bool { isPaused && !closing.hasPeerEnded }

    /// Lets the script send. False when it has called `close` already.
    func open() -> Bool {
        let deflates = writeBuffer.deflates
        // With `debug` the engine writes every frame itself: it has to report them.
        let direct = deflates || socket.options.debug ? nil : transport.descriptorForScript
        let keepsTimes = keepalive != nil
        return socket.sendQueue.withLock {
            $0.open(direct: direct, compresses: deflates, recordsWriteTimes: keepsTimes)
        }
    }

    /// Takes what has already come.
    func start(_ loop: inout LoopContext) -> Progress {
        watch(&loop)
        return read(&loop)
    }

    func ready(_ readiness: Poller.Readiness, _ loop: inout LoopContext) -> Progress {
        guard transport.shouldHandle(readiness) else { return .going }
        let ready = transport.streamReadiness(readiness)
        if ready.contains(.write), isWriting, flush(&loop) == .over { return .over }
        return ready.contains(.read) ? read(&loop, endsOrStops: readiness.endsOrStops) : .going
    }

    func watch(_ loop: inout LoopContext) {
        var interest: Poller.Interest = isPaused ? [] : .read
        if isWriting, !closing.isWriteFailed { interest.insert(.write) }
        transport.setInterest(interest, loop.poller)
    }

    // MARK: - In

    /// Reads what there is.
    /// - Parameter endsOrStops: as the event has it (Poller.Readiness).
    func read(_ loop: inout LoopContext, endsOrStops: Bool = true) -> Progress {
        var total = 0
        // Without what goes straight to its place: Lua's copy of it is the cheaper the nearer it follows, and three threads
        // (the peer's is one) are too many for two processors.
        var parsed = 0
        defer {
            let hasMore = total >= loop.readBuffer.count || connection.isInMessage
            if parsed >= Self.streamSize, hasMore { loop.isStreaming = true }
        }
        reading: for _ in 0..<Transport.maxReadsPerTurn where total < loop.readBuffer.count {
            guard !isPaused else { break }
            if !unread.isEmpty {
                var input: [UInt8] = []
                swap(&input, &unread)
                total += input.count
                guard input.withUnsafeMutableBytes({ parse($0, &loop) }) == .going else { return .over }
                // Inflating has taken its share of this turn.
                if !unread.isEmpty { break }
                continue
            }
            let direct = connection.payloadDestination(&loop.records)
            let target = direct ?? UnsafeMutableRawBufferPointer(rebasing: loop.readBuffer.prefix(room))
            room = direct == nil ? loop.readBuffer.count : Self.headRoom
            switch transport.read(into: target) {
            case .wouldBlock:
                watch(&loop)
                transport.requestTurnIfPending(&loop)
                return closing.isWriteFailed ? over() : .going
            case .end:
                hasEnded = true
                if transport.tls?.isTruncated == true {
                    socket.debugLine("TLS: the peer closed the connection without close_notify", &loop.records)
                }
                return over()
            case .failed(let fault):
                hasEnded = true
                socket.debugLine("the connection broke: \(fault.words)", &loop.records)
                // Behind the peer's Close, or a failure, nothing counts any more (RFC 6455 1.4).
                if !closing.hasPeerEnded, case .tls = fault { failed?("tls", fault.words, &loop) }
                return over()
            case .bytes(let count):
                total += count
                if direct == nil {
                    parsed += count
                    let input = UnsafeMutableRawBufferPointer(rebasing: target[..<count])
                    guard parse(input, &loop) == .going else { return .over }
                    if !unread.isEmpty { break reading }
                } else {
                    let outcome = connection.didReadPayload(count, into: &loop.records)
                    guard received(outcome, &loop) == .going else { return .over }
                }
                // Fewer than there was room for: the next read would block.
                if count < target.count, !endsOrStops, transport.shortReadEmptiesSocket, !transport.hasBufferedInput {
                    return .going
                }
            }
        }
        if !isPaused { transport.requestAnotherTurn(&loop) }
        return .going
    }

    /// Takes bytes of the peer.
    private func parse(_ input: UnsafeMutableRawBufferPointer, _ loop: inout LoopContext) -> Progress {
        let outcome = connection.receive(input, into: &loop.records)
        // Before anything else may read on.
        if connection.unconsumed > 0 { unread = Array(input.suffix(connection.unconsumed)) }
        return received(outcome, &loop)
    }

    /// Answers pings, hands the events of a read to Lua, then sees whether it was the last.
    private func received(_ outcome: MessageReader.Outcome, _ loop: inout LoopContext) -> Progress {
        if loop.records.hasDetachedBlocks { scheduleMemoryRelease(&loop) }
        heard(&loop)
        // First of all: an answer of the script to what came with the ping must not overtake the pong.
        let progress = answerPings(&loop)
        socket.publish(&loop.records)
        // Asked once: the answer to a second time would be that to the first.
        if !isPaused, socket.pauseIfQueueFull() {
            socket.debugLine("reading stops until the script has caught up with maxqueued", &loop.records)
            pause(&loop)
        }
        switch outcome {
        case .open: return progress
        case .closed(let frame):
            guard !closing.hasPeerEnded else { return progress }
            return perform(closing.peerClosed(frame, scriptIsBehind: socket.requestResume(at: 0)), &loop)
        case .failed(let failure):
            guard !closing.hasPeerEnded else { return progress }
            return perform(closing.peerFailed(failure, scriptIsBehind: socket.requestResume(at: 0)), &loop)
        }
    }

    private func heard(_ loop: inout LoopContext) {
        guard keepalive != nil else { return }
        keepalive!.received(loop.now)
        guard let pong = connection.keepalivePong else { return }
        connection.keepalivePong = nil
        guard let latency = keepalive!.answered(pong, loop.now) else { return }
        socket.setLatency(latency)
        socket.debugLine("latency \(latency.seconds) s", &loop.records)
    }

    /// Reads no more until Lua has caught up.
    func pause(_ loop: inout LoopContext) {
        isPaused = true
        keepalive?.suspend()
        watch(&loop)
    }

    func unpause(_ loop: inout LoopContext) {
        isPaused = false
        keepalive?.resume(loop.now)
        if closingDeadline != nil, !closing.hasPeerEnded { renewClosingDeadline(&loop) }
        watch(&loop)
    }

    /// Lua has caught up.
    func resume(_ loop: inout LoopContext) -> Progress {
        guard isPaused else { return .going }
        if closing.hasPeerEnded {
            // This may belong to an earlier pause for maxqueued: everything must be delivered.
            return socket.requestResume(at: 0) ? .going : scriptCaughtUp(&loop)
        }
        unpause(&loop)
        return read(&loop)
    }

    // MARK: - Time

    func timeout(_ loop: inout LoopContext) -> Progress {
        if let memoryDeadline, memoryDeadline <= loop.now { shrink(&loop) }
        if closing.isOpen, keepAlive(&loop) == .over || checkAcknowledgements(&loop) == .over { return .over }
        guard !isPausedByQueue, let closingDeadline, closingDeadline <= loop.now else { return .going }
        if closing.isWaitingForScript { return scriptCaughtUp(&loop) }
        return hasNewsOfPeer(&loop) ? .going : over()
    }
}
