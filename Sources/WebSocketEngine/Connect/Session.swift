// The engine's part of one websocket, from the script's connect to its end: an attempt, an open connection or a
// wait, as its reconnectState says, and the OPEN, ERROR and CLOSE events that go with them.

import CEvents
import WebSocketProtocol

final class Session {
    let websocket: WebSocket
    let slot: Int

    private var connection: OpenConnection?
    /// Sockets of connections that are over, the oldest first; of more than these the oldest is closed.
    private var lingeringCloses: [LingeringClose] = []
    private static let lingeringCloseLimit = 4
    private var attempt: ConnectAttempt?
    private var reconnectState: ReconnectState
    /// Whether there was an open connection.
    private var hasOpened = false
    /// The deadline that the timers know of.
    private var scheduled: Nanoseconds?
    /// When the next attempt begins.
    private var retryAt: Nanoseconds?

    init(_ websocket: WebSocket, slot: Int) {
        self.websocket = websocket
        self.slot = slot
        let options = websocket.options
        reconnectState = ReconnectState(
            backoff: Backoff(minimum: options.minReconnectWait, maximum: options.maxReconnectWait),
            reconnect: options.reconnect)
    }

    /// Nothing goes on: the loop may forget it.
    var isOver: Bool { reconnectState.phase == .stopped && lingeringCloses.isEmpty }

    // MARK: - What the script wants

    func connect(_ loop: inout LoopContext) { execute(reconnectState.connect(), &loop) }

    func close(_ frame: CloseFrame, _ loop: inout LoopContext) {
        execute(reconnectState.close(), closing: frame, &loop)
        if let connection, websocket.isAbandoned { connectionProgressed(connection.abandon(&loop), &loop) }
    }

    /// Time is up for what was sent to leave.
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
            attempt = nil
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
        // Lua's thread may have written by itself.
        connection.acknowledgements.sent(loop.now)
        connectionProgressed(connection.flush(&loop), &loop)
    }

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

    // MARK: - What the network does

    func ready(_ readiness: Poller.Readiness, _ loop: inout LoopContext) {
        // Only `connectionProgressed` lets it go: nothing is counted for a message.
        if let connection = connection.map({ Unmanaged.passUnretained($0) }) {
            connectionProgressed(connection._withUnsafeGuaranteedRef { $0.ready(readiness, &loop) }, &loop)
        } else if let attempt {
            attemptProgressed(attempt.ready(readiness, &loop), &loop)
        }
        if !lingeringCloses.isEmpty { lingeringCloses.removeAll { $0.ready(readiness, &loop) } }
    }

    func lookupFinished(_ token: Poller.Token, _ resolution: Resolution, _ loop: inout LoopContext) {
        guard let attempt else { return }
        attemptProgressed(attempt.lookupFinished(token, resolution, &loop), &loop)
    }

    func tlsContextFinished(_ token: Poller.Token, _ result: Result<TLSContext, TLSFailure>, _ loop: inout LoopContext)
    {
        guard let attempt else { return }
        attemptProgressed(attempt.tlsContextFinished(token, result, &loop), &loop)
    }

    // MARK: - Time

    /// Sees to it that `timeout` is called when the next deadline has come.
    @inline(__always)
    func schedule(_ loop: inout LoopContext) {
        let current = connection?.deadline ?? attempt?.deadline ?? retryAt
        let deadline = lingeringCloses.isEmpty ? current : earlier(current, lingeringCloses.first?.deadline)
        // One that moves on with every read is looked at again when its old time has come.
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
        } else if let attempt {
            attemptProgressed(attempt.timeout(&loop), &loop)
        } else if let retryAt, retryAt <= loop.now {
            self.retryAt = nil
            retry(&loop)
        }
    }

    private func retry(_ loop: inout LoopContext) {
        // The events of connections that come and go would pile up: `resume` tries again.
        guard !websocket.pauseIfQueueFull() else { return }
        reconnectState.beginRetry()
        startAttempt(&loop)
    }

    // MARK: - Attempts

    private func startAttempt(_ loop: inout LoopContext) {
        guard let url = websocket.options.url else { return }
        websocket.setState(.connecting)
        websocket.setAttempts(reconnectState.attempts)
        websocket.debugLine("attempt \(reconnectState.attempts) at \(url.redactedDescription)", &loop.records)
        let attempt = ConnectAttempt(websocket, url, slot: slot, hasWorked: hasOpened, now: loop.now)
        self.attempt = attempt
        attemptProgressed(attempt.start(&loop), &loop)
    }

    private func attemptProgressed(_ progress: ConnectAttempt.Progress, _ loop: inout LoopContext) {
        switch progress {
        case .pending: break
        case .failed(let failure):
            attempt = nil
            attemptFailed(failure, &loop)
        case .open(let connection, let info):
            attempt = nil
            // Before the script hears of it: it may send as soon as it does.
            guard connection.open() else {
                // Its `close` came first, and the command for it is on its way.
                _ = connection.close(CloseFrame(code: .goingAway), &loop)
                linger(on: connection, &loop)
                return
            }
            self.connection = connection
            hasOpened = true
            reconnectState.connectionOpened(loop.now)
            websocket.setAttempts(reconnectState.attempts)
            connection.failed = { [unowned self] in connectionFailed($0, $1, &$2) }
            publishEvent(WS_EVENT_OPEN, info, &loop)
            connectionProgressed(connection.start(&loop), &loop)
        }
    }

    private func attemptFailed(_ failure: ConnectAttempt.Failure, _ loop: inout LoopContext) {
        websocket.debugLine("failed: \(failure.reason)", &loop.records)
        var info = EventInfo(
            error: "Unable to connect to \(websocket.options.url?.description ?? ""): \(failure.reason)")
        info.add("kind", failure.kind)
        info.add("attempt", reconnectState.attempts)
        if let status = failure.status ?? failure.response?.status { info.add("status", status) }
        if let response = failure.response {
            info.add("headers", response.fields)
            info.add("body", failure.body)
        }
        // RFC 9110 section 10.2.3: no server may park a client for longer than a minute, unless the
        // script waits longer of its own accord.
        let asked = failure.response?.retryAfter ?? 0
        let atLeast = min(asked, max(websocket.options.maxReconnectWait, 60))
        let next = reconnectState.attemptFailed(
            permanent: failure.isPermanent, atLeast: atLeast, random: loop.random.next() ?? 0)
        scheduleNext(next, WS_EVENT_ERROR, &info, &loop)
    }

    /// The event of an end, and what comes after it.
    private func scheduleNext(
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

    private func connectionFailed(_ kind: String, _ reason: String, _ loop: inout LoopContext) {
        websocket.debugLine("failed: \(reason)", &loop.records)
        var info = EventInfo(error: "Connection to \(websocket.options.url?.description ?? "") failed: \(reason)")
        info.add("kind", kind)
        if case .retry(let seconds) = reconnectState.announceNext(loop.now, random: loop.random.next() ?? 0) {
            info.add("retryin", seconds)
        }
        publishEvent(WS_EVENT_ERROR, info, &loop)
    }

    private func connectionProgressed(_ progress: OpenConnection.Progress, _ loop: inout LoopContext) {
        guard progress == .over, let connection else { return }
        self.connection = nil
        let summary = connection.finish()
        let result = summary.result
        connection.shrink(&loop)
        if connection.lingers { linger(on: connection, &loop) }
        websocket.debugLine(
            "closed: \(result.code.rawValue), \(result.reason.isEmpty ? "" : "\(result.reason), ")\(result.isClean ? "clean" : "not clean"), "
                + "begun by \(result.isRemote ? "the peer" : "us"), \(summary.unsent) bytes unsent", &loop.records)
        var info = EventInfo()
        info.add("code", Int(result.code.rawValue))
        info.add("reason", result.reason)
        info.add("clean", result.isClean)
        info.add("remote", result.isRemote)
        info.add("unsent", summary.unsent)
        scheduleNext(
            reconnectState.connectionLost(loop.now, random: loop.random.next() ?? 0), WS_EVENT_CLOSE, &info, &loop)
    }

    private func linger(on connection: OpenConnection, _ loop: inout LoopContext) {
        guard !loop.isShuttingDown else { return }
        let lingeringClose = LingeringClose(
            connection.transport, fails: connection.closing.result?.isClean != true, &loop)
        guard !lingeringClose.isOver(&loop) else { return }
        if lingeringCloses.count == Self.lingeringCloseLimit { lingeringCloses.removeFirst() }
        lingeringCloses.append(lingeringClose)
    }

    // MARK: - Events

    private func publishEvent(_ type: Int, _ info: EventInfo, flags: Int = 0, _ loop: inout LoopContext) {
        websocket.publishEvent(type, info, flags: flags, &loop.records)
    }

    /// The last event of a start.
    private func publishLastEvent(
        _ type: Int = WS_EVENT_ENDED, _ info: EventInfo = EventInfo(), loop: inout LoopContext
    ) {
        // Else the queue has ended it already (EventQueue.endWebsockets).
        guard websocket.queue.websocketEnded(websocket) else { return }
        publishEvent(type, info, flags: WS_EVENT_FINAL, &loop)
    }
}
