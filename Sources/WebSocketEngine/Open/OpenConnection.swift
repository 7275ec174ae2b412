// An open connection, from the opening handshake to the end of the closing one: moves bytes between the socket, the
// MessageReader, the WriteBuffer and the event records. This file owns the parts, reads, and has the deadlines;
// OpenConnection+Sending writes, OpenConnection+Closing ends. Session owns it, on the thread that runs the loop.

import CEvents
import WebSocketProtocol

final class OpenConnection {
    /// After `over` nothing may be called but `finish`.
    enum Progress { case going, over }

    // Every event of every connection reads these: they stand first, so that they share a cache line.

    let websocket: WebSocket
    let transport: Transport
    /// Whether reading is paused, because of `maxqueued` or because the script is to deliver what came before the peer's end.
    private(set) var isPaused = false
    /// Whether bytes wait for the socket to become writable.
    var isWaitingForWritable = false
    /// Whether `flush` was called since the last event.
    var hasWritten = false
    /// Whether the peer has closed its side of the socket, or the socket is broken.
    private(set) var hasSocketEnded = false
    /// Bytes that the next read may return. Small after a large frame: the payload of the next large frame is then read
    /// straight into its message. Also less after many tiny frames, which take the longest for their bytes.
    private var readLimit = Int.max
    var idleMemory = IdleMemory()
    var closing = ClosingHandshake()
    var closingProgress = ClosingProgress()
    /// While the script has to catch up: when it has had its time. Later: when the peer has had its time to answer.
    var closingDeadline: Nanoseconds?
    /// Since when the deadline has not come nearer, because reading is paused.
    var deadlineStoppedAt: Nanoseconds = 0
    /// Whether a pause for `maxqueued` has stopped the deadline; it does so once.
    private var hasStoppedDeadline = false
    var reader: MessageReader
    var keepalive: Keepalive?
    var acknowledgements = AcknowledgementTimeout()
    var writeBuffer: WriteBuffer

    /// Why writing has failed; nil also if the peer has closed.
    var writeFault: Transport.Fault?
    /// Called with the kind and reason of an ERROR, before the connection is over.
    var onFailure: ((_ kind: String, _ reason: String, _ loop: inout LoopContext) -> Void)?

    /// Bytes from the socket that are still to be parsed: those behind the answer of the opening handshake, or those that
    /// would inflate to too much in one turn.
    private var unparsed: [UInt8]

    /// Whether each byte that is read takes little time: neither TLS nor inflating.
    private let areBytesCheap: Bool

    /// Bytes that are handled in some microseconds.
    private static let briefRead = 1 << 10
    private static let readLimitAfterLargeFrame = 4 << 10
    private static let readLimitAfterTinyFrames = 64 << 10
    /// Bytes parsed in one turn, the last of them in the middle of a message, after which more are expected at once.
    private static let streamSize = 64 << 10

    /// - Parameters:
    ///   - early: bytes behind the answer of the opening handshake.
    ///   - key: random; marks the pings of the keepalive.
    init(
        _ websocket: WebSocket, _ transport: Transport, _ agreement: ClientHandshake.Agreement, _ early: [UInt8],
        key: UInt32, now: Nanoseconds, thresholds: Thresholds = Thresholds()
    ) {
        self.websocket = websocket
        self.transport = transport
        unparsed = early
        areBytesCheap = transport.tls == nil && agreement.deflate == nil
        let options = websocket.options
        let role = websocket.role
        reader = MessageReader(
            role: role, socket: websocket.id, maximumMessageSize: options.maxMessageSize,
            inflating: agreement.deflate.map(role.incoming), keepaliveKey: key, debug: options.debug,
            thresholds: thresholds)
        if options.pingInterval > 0 {
            keepalive = Keepalive(interval: options.pingInterval, timeout: options.pongTimeout, key: key, now: now)
            // Our pings replace TCP's probes, whose answers would count as signs of life.
            transport.stopKeepAlive()
        }
        var deflate: OutgoingDeflate?
        if let parameters = agreement.deflate, let options = options.deflate {
            deflate = OutgoingDeflate(role, parameters, options)
        }
        writeBuffer = WriteBuffer(role, deflate)
    }

    var token: Poller.Token { transport.token }

    /// When `timeout` is to be called.
    @inline(__always)
    var deadline: Nanoseconds? {
        var deadline = idleMemory.deadline ?? .max
        if let closingDeadline, !isDeadlineStopped { deadline = min(deadline, closingDeadline) }
        if closing.isOpen {
            deadline = min(deadline, acknowledgements.deadline ?? .max)
            if let keepalive { deadline = min(deadline, keepalive.deadline) }
        }
        return deadline == .max ? nil : deadline
    }

    /// Whether reading is paused because of `maxqueued`, for the first time since our Close: the peer's answer may wait unread
    /// in the socket. Later pauses do not stop the time, or a peer that sends on and on would have time without end.
    private var isDeadlineStopped: Bool { isPaused && !closing.hasPeerEnded && !hasStoppedDeadline }

    /// Lets the script send. False if it has called `close` already.
    func open() -> Bool {
        let compresses = writeBuffer.compresses
        // With `debug` the loop writes every frame, since only the loop can report it.
        let direct = compresses || websocket.options.debug ? nil : transport.writerForScript
        let role = websocket.role
        let independent = writeBuffer.independentDeflate
        return websocket.sendQueue.withLock {
            $0.open(direct: direct, compresses: compresses, role: role, independent: independent)
        }
    }

    /// Reads what has come already.
    func start(_ loop: inout LoopContext) -> Progress {
        updateInterest(&loop)
        return read(&loop)
    }

    func ready(_ readiness: Poller.Readiness, _ loop: inout LoopContext) -> Progress {
        guard transport.shouldHandle(readiness) else { return .going }
        let ready = transport.streamReadiness(readiness)
        hasWritten = false
        if ready.contains(.write), isWaitingForWritable, flush(&loop) == .over { return .over }
        return ready.contains(.read) ? read(&loop, endsOrStops: readiness.endsOrStops) : .going
    }

    func updateInterest(_ loop: inout LoopContext) {
        var interest: Poller.Interest = isPaused ? [] : .read
        if isWaitingForWritable, !closing.isWriteFailed { interest.insert(.write) }
        transport.setInterest(interest, loop.poller)
    }

    // MARK: - Reading

    /// Reads until the socket is empty or this turn's share is used up.
    /// - Parameter endsOrStops: see Poller.Readiness.
    func read(_ loop: inout LoopContext, endsOrStops: Bool = true) -> Progress {
        var total = 0
        // Large payloads do not count: they are delivered at once, while they are in the processor's cache, and a second
        // busy thread would compete with the peer. (Measured on two processors.)
        var parsed = 0
        defer {
            if parsed >= Self.streamSize, total >= loop.readBuffer.count || reader.isInMessage {
                loop.isStreaming = true
            }
        }
        reading: for _ in 0..<Transport.maxReadsPerTurn where total < loop.readBuffer.count {
            guard !isPaused else { break }
            if !unparsed.isEmpty {
                var input: [UInt8] = []
                swap(&input, &unparsed)
                total += input.count
                guard input.withUnsafeMutableBytes({ parse($0, &loop) }) == .going else { return .over }
                // Inflating has used up its share of this turn.
                if !unparsed.isEmpty { break }
                continue
            }
            let payload = reader.payloadDestination(&loop.records)
            let target = payload ?? UnsafeMutableRawBufferPointer(rebasing: loop.readBuffer.prefix(readLimit))
            readLimit = payload == nil ? loop.readBuffer.count : Self.readLimitAfterLargeFrame
            switch transport.read(into: target) {
            case .wouldBlock:
                updateInterest(&loop)
                transport.requestTurnIfPending(&loop)
                return closing.isWriteFailed ? over(because: Self.words(writeFault)) : .going
            case .end: return socketEnded(nil, &loop)
            case .failed(let fault): return socketEnded(fault, &loop)
            case .bytes(let count):
                total += count
                if payload == nil {
                    parsed += count
                    let input = UnsafeMutableRawBufferPointer(rebasing: target[..<count])
                    guard parse(input, &loop) == .going else { return .over }
                    if readLimit == Self.readLimitAfterTinyFrames { total = loop.readBuffer.count }
                    if !unparsed.isEmpty { break reading }
                } else {
                    let outcome = reader.didReadPayload(count, into: &loop.records)
                    guard publish(outcome, &loop) == .going else { return .over }
                }
                // The socket is empty: another read would block.
                if count < target.count, !endsOrStops, transport.shortReadEmptiesSocket, !transport.hasBufferedInput {
                    loop.wasBrief = areBytesCheap && total <= Self.briefRead && !hasWritten
                    return .going
                }
            }
        }
        if !isPaused { transport.requestAnotherTurn(&loop) }
        return .going
    }

    private func socketEnded(_ fault: Transport.Fault?, _ loop: inout LoopContext) -> Progress {
        hasSocketEnded = true
        var cause = Self.words(fault)
        if let fault {
            websocket.debugLine("the connection broke: \(fault.words)", &loop.records)
            // Nothing that follows the peer's Close, or a failure, counts (RFC 6455 1.4).
            if !closing.hasPeerEnded, case .tls = fault { onFailure?("tls", fault.words, &loop) }
        } else if transport.tls?.isTruncated == true {
            cause += "; TLS ended without close_notify"
            websocket.debugLine("TLS: the peer closed the connection without close_notify", &loop.records)
        }
        return over(because: cause)
    }

    private func parse(_ input: UnsafeMutableRawBufferPointer, _ loop: inout LoopContext) -> Progress {
        let outcome = reader.receive(input, into: &loop.records)
        // A record of 24 bytes and more for each frame of 6 bytes and less.
        if input.count >= Self.readLimitAfterTinyFrames, loop.records.size > 4 * input.count {
            readLimit = Self.readLimitAfterTinyFrames
        }
        // First of all: `publish` may read on, when a write fails.
        if reader.unconsumed > 0 { unparsed = Array(input.suffix(reader.unconsumed)) }
        return publish(outcome, &loop)
    }

    /// Answers pings, publishes the events of one read, and acts on the peer's end.
    private func publish(_ outcome: MessageReader.Outcome, _ loop: inout LoopContext) -> Progress {
        if loop.records.hasDetachedBlocks { idleMemory.didUseLargeBuffer(loop.now) }
        if keepalive != nil { noteLiveness(&loop) }
        // Before the events: the script's answer to what came with the ping must not overtake the pong.
        let progress = answerPings(&loop)
        websocket.publish(&loop.records)
        if !isPaused, websocket.pauseIfQueueFull() {
            websocket.debugLine("reading stops until the script has caught up with maxqueued", &loop.records)
            pause(&loop)
        }
        switch outcome {
        case .open: return progress
        case .closed, .failed: return closing.hasPeerEnded ? progress : peerEnded(outcome, &loop)
        }
    }

    private func noteLiveness(_ loop: inout LoopContext) {
        keepalive!.received(loop.now)
        guard let pong = reader.keepalivePong else { return }
        reader.keepalivePong = nil
        guard let latency = keepalive!.answered(pong, loop.now) else { return }
        websocket.setLatency(latency)
        websocket.debugLine("latency \(latency.seconds) s", &loop.records)
    }

    // MARK: - Pausing

    /// Stops reading until the script has delivered its events.
    func pause(_ loop: inout LoopContext) {
        isPaused = true
        deadlineStoppedAt = loop.now
        keepalive?.suspend()
        updateInterest(&loop)
    }

    func unpause(_ loop: inout LoopContext) {
        if let deadline = closingDeadline, isDeadlineStopped {
            closingDeadline = deadline + (loop.now - deadlineStoppedAt)
            hasStoppedDeadline = true
        }
        isPaused = false
        keepalive?.resume(loop.now)
        updateInterest(&loop)
    }

    /// The script has delivered what `pauseIfQueueFull` or `requestResume` has asked for.
    func resume(_ loop: inout LoopContext) -> Progress {
        guard isPaused else { return .going }
        if closing.hasPeerEnded {
            // It may belong to an earlier pause for maxqueued; here everything must be delivered.
            return websocket.requestResume(at: 0) ? .going : scriptCaughtUp(&loop)
        }
        unpause(&loop)
        return read(&loop)
    }

    // MARK: - Time

    func timeout(_ loop: inout LoopContext) -> Progress {
        if idleMemory.isDue(loop.now) { freeIdleMemory(&loop) }
        if closing.isOpen, keepAlive(&loop) == .over || checkAcknowledgements(&loop) == .over { return .over }
        guard !isDeadlineStopped, let closingDeadline, closingDeadline <= loop.now else { return .going }
        if closing.isWaitingForScript { return scriptCaughtUp(&loop) }
        if extendClosingDeadline(&loop) { return .going }
        return over(
            because: "the peer sent no Close frame within the closetimeout of \(websocket.options.closeTimeout) s")
    }

    /// Frees large buffers that are not in use. One in use calls `idleMemory.didUseLargeBuffer` when it drains.
    func freeIdleMemory(_ loop: inout LoopContext) {
        writeBuffer.freeIdleMemory(websocket.sendQueue)
        websocket.queue.freePooledBlocks()
        loop.records.pool.removeAll()
    }
}
