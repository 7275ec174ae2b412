// The engine's part of one websocket: its opening, the open connection or the wait for the next attempt, and
// the OPEN, ERROR and CLOSE events. ReconnectState decides what comes next. Loop owns the session and calls it, so
// everything here is on the thread that runs the loop. Session+Opening.swift has the way to an open connection.

import CEvents
import WebSocketProtocol

final class Session {
    let websocket: WebSocket
    let slot: Int

    // Which of these is set follows from the phase (`isConsistent`). They are not an enum, so that an event for the
    // open connection reads one pointer.
    var connection: OpenConnection?
    /// Sockets of connections that are over, the oldest first.
    private var lingeringCloses: [LingeringClose] = []
    /// Lingering sockets of one websocket; for another one the oldest is closed.
    private static let maximumLingeringCloses = 4
    var opening: (any Opening)?
    /// The other end of the last opening that has ended, for errors: `onattempt` may have replaced the websocket's URL.
    var peer = ""
    var reconnectState: ReconnectState
    /// The deadline of this session in the loop's heap.
    private var scheduled: Nanoseconds?
    /// When the next attempt begins; nil while the script is behind by `maxqueued`.
    private var retryAt: Nanoseconds?

    init(_ websocket: WebSocket, slot: Int) {
        self.websocket = websocket
        self.slot = slot
        let options = websocket.options
        reconnectState = ReconnectState(
            backoff: Backoff(minimum: options.minReconnectWait, maximum: options.maxReconnectWait),
            maximumRetries: options.reconnect)
    }

    /// A client of a server. Call `begin` next.
    init(acceptedBy server: Server, _ transport: Transport, _ address: String, slot: Int, _ loop: inout LoopContext) {
        websocket = WebSocket(acceptedBy: server)
        self.slot = slot
        reconnectState = ReconnectState(backoff: Backoff(minimum: 0, maximum: 0), maximumRetries: 0)
        _ = reconnectState.connect()
        opening = Acceptance(websocket, server, transport, address, slot: slot, now: loop.now)
    }

    /// Whether the loop may free the session.
    var isOver: Bool { reconnectState.phase == .stopped && lingeringCloses.isEmpty }

    private var isConsistent: Bool {
        switch reconnectState.phase {
        case .stopped: connection == nil && opening == nil && retryAt == nil
        // Without an attempt: it opened after the script's `close`, whose command is on its way.
        case .connecting: connection == nil && retryAt == nil
        case .open, .closing: connection != nil && opening == nil && retryAt == nil
        case .waiting: connection == nil && opening == nil
        }
    }

    // MARK: - Commands of the script

    func connect(_ loop: inout LoopContext) { execute(reconnectState.connect(), &loop) }

    func close(_ frame: CloseFrame, _ loop: inout LoopContext) {
        execute(reconnectState.close(), closing: frame, &loop)
        if let connection, websocket.isAbandoned { connectionProgressed(connection.abandon(&loop), &loop) }
    }

    /// The Lua state is gone, and the time for the closing handshakes of its websockets is over.
    func drop(_ loop: inout LoopContext) {
        connectionProgressed(.over, &loop)
        lingeringCloses = []
    }

    /// The process ends.
    func leave(_ loop: inout LoopContext) {
        lingeringCloses = []
        websocket.dropEvents()
        close(CloseFrame(code: .goingAway), &loop)
    }

    private func execute(_ action: ReconnectState.Action, closing frame: CloseFrame? = nil, _ loop: inout LoopContext) {
        switch action {
        case .none: break
        case .startAttempt: startAttempt(&loop)
        case .abort:
            opening?.cancel(&loop)
            opening = nil
            retryAt = nil
            websocket.setState(.closed)
            publishLastEvent(loop: &loop)
        case .endPendingConnect: publishLastEvent(loop: &loop)
        case .startClosingHandshake:
            guard let connection, let frame else { return }
            connectionProgressed(connection.close(frame, &loop), &loop)
        }
    }

    func flush(_ loop: inout LoopContext) {
        guard let connection else { return }
        // Lua's thread may have written to the socket itself.
        connection.acknowledgements.sent(loop.now)
        connectionProgressed(connection.flush(&loop), &loop)
    }

    /// Lua has caught up with the events.
    func resume(_ loop: inout LoopContext) {
        if let connection {
            connectionProgressed(connection.resume(&loop), &loop)
        } else if reconnectState.phase == .waiting, retryAt == nil {
            retry(&loop)
        }
    }

    /// Lua has no memory for a message of this many bytes, which came with the connection of this number.
    func refuse(_ bytes: Int, connection number: UInt32, _ loop: inout LoopContext) {
        guard let connection, websocket.sendQueue.withLock({ $0.connection }) == number else { return }
        connectionProgressed(connection.refuse(bytes, &loop), &loop)
    }

    // MARK: - Events of the network and answers of other threads

    func ready(_ readiness: Poller.Readiness, _ loop: inout LoopContext) {
        // `connection` is replaced only in `connectionProgressed`, after this call: no retain for each message.
        if let connection = connection.map({ Unmanaged.passUnretained($0) }) {
            connectionProgressed(connection._withUnsafeGuaranteedRef { $0.ready(readiness, &loop) }, &loop)
        } else if let opening {
            openingProgressed(opening.ready(readiness, &loop), &loop)
        }
        if !lingeringCloses.isEmpty { lingeringCloses.removeAll { $0.ready(readiness, &loop) } }
    }

    /// The script has answered a question of `onattempt`.
    func answered(_ question: UInt32, _ answer: AttemptAnswer, _ loop: inout LoopContext) {
        guard let attempt = opening as? ConnectAttempt else { return }
        openingProgressed(attempt.answered(question, answer, &loop), &loop)
    }

    /// The script has answered the request of a server's client (`onrequest`).
    func answered(_ answer: ServerHandshake.Answer, _ loop: inout LoopContext) {
        guard let acceptance = opening as? Acceptance else { return }
        openingProgressed(acceptance.answered(answer, &loop), &loop)
    }

    func lookupFinished(_ token: Poller.Token, _ resolution: Resolution, _ loop: inout LoopContext) {
        guard let attempt = opening as? ConnectAttempt else { return }
        openingProgressed(attempt.lookupFinished(token, resolution, &loop), &loop)
    }

    func tlsContextFinished(_ token: Poller.Token, _ result: Result<TLSContext, TLSFailure>, _ loop: inout LoopContext)
    {
        guard let opening else { return }
        openingProgressed(opening.tlsContextFinished(token, result, &loop), &loop)
    }

    // MARK: - Time

    /// Enters the session's next deadline into the loop's heap. Loop calls this after every other call.
    @inline(__always)
    func schedule(_ loop: inout LoopContext) {
        assert(isConsistent)
        let current = connection?.deadline ?? opening?.deadline ?? retryAt
        let deadline = lingeringCloses.isEmpty ? current : earlier(current, lingeringCloses.first?.deadline)
        // A later deadline is not entered: the earlier one expires, finds nothing due and enters it then.
        if let deadline, let scheduled, scheduled <= deadline { return }
        guard deadline != scheduled else { return }
        scheduled = deadline
        loop.deadlines.set(deadline, for: slot)
    }

    func timeout(_ loop: inout LoopContext) {
        if let scheduled, scheduled <= loop.now { self.scheduled = nil }
        let now = loop.now
        if !lingeringCloses.isEmpty { lingeringCloses.removeAll { $0.deadline <= now } }
        if let connection {
            connectionProgressed(connection.timeout(&loop), &loop)
        } else if let opening {
            openingProgressed(opening.timeout(&loop), &loop)
        } else if let retryAt, retryAt <= loop.now {
            self.retryAt = nil
            retry(&loop)
        }
    }

    private func retry(_ loop: inout LoopContext) {
        // While the script is behind by maxqueued there is no new connection, whose events would be added: `resume`
        // tries again.
        guard !websocket.pauseIfQueueFull() else { return }
        reconnectState.beginRetry()
        startAttempt(&loop)
    }

    // MARK: - What follows

    /// Publishes the event of an end, and begins what follows it.
    func scheduleNext(
        _ next: ReconnectState.Next, _ type: Int, _ info: inout EventInfo, _ loop: inout LoopContext
    ) {
        switch next {
        case .retry(let seconds):
            info.add("retryin", seconds)
            websocket.debugLine("next attempt in \(seconds) s", &loop.records)
            retryAt = loop.now + Nanoseconds(seconds: seconds)
            websocket.setState(.waiting)
            publishEvent(type, info, &loop)
        case .stop:
            websocket.setState(.closed)
            publishLastEvent(type, info, loop: &loop)
        case .restart:
            publishLastEvent(type, info, loop: &loop)
            startAttempt(&loop)
        }
    }

    // MARK: - The open connection

    func connectionFailed(_ kind: String, _ reason: String, _ loop: inout LoopContext) {
        websocket.debugLine("failed: \(reason)", &loop.records)
        var info = EventInfo(error: "Connection \(peer) failed: \(reason)")
        info.add("kind", kind)
        if case .retry(let seconds) = reconnectState.announceNext(loop.now, random: loop.random.next() ?? 0) {
            info.add("retryin", seconds)
        }
        publishEvent(WS_EVENT_ERROR, info, &loop)
    }

    @inline(__always)
    func connectionProgressed(_ progress: OpenConnection.Progress, _ loop: inout LoopContext) {
        if progress == .over { connectionEnded(&loop) }
    }

    @inline(never)
    private func connectionEnded(_ loop: inout LoopContext) {
        guard let connection else { return }
        self.connection = nil
        websocket.server?.connectionClosed()
        let summary = connection.finish()
        let result = summary.result
        connection.freeIdleMemory(&loop)
        if connection.lingers { linger(on: connection, &loop) }
        websocket.debugLine(Self.debugLine(of: summary), &loop.records)
        var info = EventInfo(error: result.cause ?? "")
        info.add("cause", result.cause)
        info.add("code", Int(result.code.rawValue))
        info.add("reason", result.reason)
        info.add("clean", result.isClean)
        info.add("remote", result.isRemote)
        info.add("unsent", summary.unsent)
        scheduleNext(
            reconnectState.connectionLost(loop.now, random: loop.random.next() ?? 0), WS_EVENT_CLOSE, &info, &loop)
    }

    private static func debugLine(of summary: OpenConnection.Summary) -> String {
        let result = summary.result
        let words = result.cause ?? result.reason
        let reason = words.isEmpty ? "" : ", \(words)"
        return "closed: \(result.code.rawValue)\(reason), \(result.isClean ? "clean" : "not clean"), "
            + "begun by \(result.isRemote ? "the peer" : "us"), \(summary.unsent) bytes unsent"
    }

    func linger(on connection: OpenConnection, _ loop: inout LoopContext) {
        guard !loop.isShuttingDown else { return }
        // A server closes TCP first (RFC 6455 section 7.1.1): its client waits for that.
        let closesNow = websocket.role == .server || connection.closing.result?.isClean != true
        let lingeringClose = LingeringClose(connection.transport, closesNow: closesNow, &loop)
        guard !lingeringClose.isOver(&loop) else { return }
        if lingeringCloses.count == Self.maximumLingeringCloses { lingeringCloses.removeFirst() }
        lingeringCloses.append(lingeringClose)
    }

    // MARK: - Events

    func publishEvent(_ type: Int, _ info: EventInfo, flags: Int = 0, _ loop: inout LoopContext) {
        websocket.publishEvent(type, info, flags: flags, &loop.records)
    }

    /// Publishes the one event that ends a connect.
    private func publishLastEvent(
        _ type: Int = WS_EVENT_ENDED, _ info: EventInfo = EventInfo(), loop: inout LoopContext
    ) {
        // False if the queue has ended it already (EventQueue.endWebsockets).
        guard websocket.queue.websocketEnded(websocket) else { return }
        publishEvent(type, info, flags: WS_EVENT_FINAL, &loop)
    }
}
