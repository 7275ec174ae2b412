// The engine's part of one websocket, from the script's connect to its end: an attempt, an open channel or a
// wait, as its reconnectState says, and the OPEN, ERROR and CLOSE events that go with them.

import CEvents
import WebSocketProtocol

final class Session {
    let socket: WebSocket
    let slot: Int

    private var channel: OpenConnection?
    /// Sockets of connections that are over, the oldest first; of more than these the oldest is closed.
    private var lingeringCloses: [LingeringClose] = []
    private static let lingeringCloseLimit = 4
    private var opening: ConnectAttempt?
    private var reconnectState: ReconnectState
    /// Whether there was an open connection.
    private var hasOpened = false
    /// The deadline that the timers know of.
    private var scheduled: Nanoseconds?
    /// When the next attempt begins.
    private var retryAt: Nanoseconds?

    init(_ socket: WebSocket, slot: Int) {
        self.socket = socket
        self.slot = slot
        let options = socket.options
        reconnectState = ReconnectState(
            backoff: Backoff(minimum: options.minReconnectWait, maximum: options.maxReconnectWait),
            reconnect: options.reconnect)
    }

    /// Nothing goes on: the loop may forget it.
    var isOver: Bool { reconnectState.phase == .stopped && lingeringCloses.isEmpty }

    // MARK: - What the script wants

    func connect(_ loop: inout LoopContext) { perform(reconnectState.connect(), &loop) }

    func close(_ frame: CloseFrame, _ loop: inout LoopContext) {
        perform(reconnectState.close(), closing: frame, &loop)
        if let channel, socket.isAbandoned { handle(channel.abandon(&loop), &loop) }
    }

    /// Time is up for what was sent to leave.
    func drop(_ loop: inout LoopContext) {
        handle(OpenConnection.Progress.over, &loop)
        lingeringCloses = []
    }

    /// The process ends.
    func leave(_ loop: inout LoopContext) {
        lingeringCloses = []
        socket.dropEvents()
        close(CloseFrame(code: .goingAway), &loop)
    }

    private func perform(_ action: ReconnectState.Action, closing frame: CloseFrame? = nil, _ loop: inout LoopContext) {
        switch action {
        case .none: break
        case .open: open(&loop)
        case .abort:
            opening = nil
            retryAt = nil
            socket.setState(.closed)
            end(loop: &loop)
        case .cancel: end(loop: &loop)
        case .close:
            guard let channel, let frame else { return }
            handle(channel.close(frame, &loop), &loop)
        }
    }

    func flush(_ loop: inout LoopContext) {
        guard let channel else { return }
        // Lua's thread may have written by itself.
        channel.acknowledgements.sent(loop.now)
        handle(channel.flush(&loop), &loop)
    }

    func resume(_ loop: inout LoopContext) {
        if let channel {
            handle(channel.resume(&loop), &loop)
        } else if reconnectState.phase == .waiting, retryAt == nil {
            retry(&loop)
        }
    }

    /// Lua has no memory for a message of this many bytes, which came with the connection of this number.
    func refuse(_ bytes: Int, connection number: UInt32, _ loop: inout LoopContext) {
        guard let channel, socket.sendQueue.withLock({ $0.connection }) == number else { return }
        handle(channel.refuse(bytes, &loop), &loop)
    }

    // MARK: - What the network does

    func ready(_ readiness: Poller.Readiness, _ loop: inout LoopContext) {
        // Only `handle` lets it go: nothing is counted for a message.
        if let channel = channel.map({ Unmanaged.passUnretained($0) }) {
            handle(channel._withUnsafeGuaranteedRef { $0.ready(readiness, &loop) }, &loop)
        } else if let opening {
            handle(opening.ready(readiness, &loop), &loop)
        }
        if !lingeringCloses.isEmpty { lingeringCloses.removeAll { $0.ready(readiness, &loop) } }
    }

    func resolved(_ token: Poller.Token, _ resolution: Resolution, _ loop: inout LoopContext) {
        guard let opening else { return }
        handle(opening.resolved(token, resolution, &loop), &loop)
    }

    func prepared(_ token: Poller.Token, _ result: Result<TLSContext, TLSFailure>, _ loop: inout LoopContext) {
        guard let opening else { return }
        handle(opening.prepared(token, result, &loop), &loop)
    }

    // MARK: - Time

    /// Sees to it that `timeout` is called when the next deadline has come.
    @inline(__always)
    func schedule(_ loop: inout LoopContext) {
        let current = channel?.deadline ?? opening?.deadline ?? retryAt
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
        if let channel {
            handle(channel.timeout(&loop), &loop)
        } else if let opening {
            handle(opening.timeout(&loop), &loop)
        } else if let retryAt, retryAt <= loop.now {
            self.retryAt = nil
            retry(&loop)
        }
    }

    private func retry(_ loop: inout LoopContext) {
        // The events of connections that come and go would pile up: `resume` tries again.
        guard !socket.pauseIfQueueFull() else { return }
        reconnectState.retry()
        open(&loop)
    }

    // MARK: - Attempts

    private func open(_ loop: inout LoopContext) {
        guard let url = socket.options.url else { return }
        socket.setState(.connecting)
        socket.setAttempts(reconnectState.attempts)
        socket.debugLine("attempt \(reconnectState.attempts) at \(url.redactedDescription)", &loop.records)
        let opening = ConnectAttempt(socket, url, slot: slot, hasWorked: hasOpened, now: loop.now)
        self.opening = opening
        handle(opening.start(&loop), &loop)
    }

    private func handle(_ progress: ConnectAttempt.Progress, _ loop: inout LoopContext) {
        switch progress {
        case .pending: break
        case .failed(let failure):
            opening = nil
            failed(failure, &loop)
        case .open(let channel, let info):
            opening = nil
            // Before the script hears of it: it may send as soon as it does.
            guard channel.open() else {
                // Its `close` came first, and the command for it is on its way.
                _ = channel.close(CloseFrame(code: .goingAway), &loop)
                lingerOn(to: channel, &loop)
                return
            }
            self.channel = channel
            hasOpened = true
            reconnectState.opened(loop.now)
            socket.setAttempts(reconnectState.attempts)
            channel.failed = { [unowned self] in failed($0, $1, &$2) }
            emit(WS_EVENT_OPEN, info, &loop)
            handle(channel.start(&loop), &loop)
        }
    }

    private func failed(_ failure: ConnectAttempt.Failure, _ loop: inout LoopContext) {
        socket.debugLine("failed: \(failure.reason)", &loop.records)
        var info = EventInfo(error: "Unable to connect to \(socket.options.url?.description ?? ""): \(failure.reason)")
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
        let atLeast = min(asked, max(socket.options.maxReconnectWait, 60))
        let next = reconnectState.failed(
            permanent: failure.isPermanent, atLeast: atLeast, random: loop.random.next() ?? 0)
        follow(next, WS_EVENT_ERROR, &info, &loop)
    }

    /// The event of an end, and what comes after it.
    private func follow(
        _ next: ReconnectState.Next, _ type: Int, _ info: inout EventInfo, _ loop: inout LoopContext
    ) {
        switch next {
        case .retry(let seconds):
            info.add("retryin", seconds)
            socket.debugLine("next attempt in \(seconds) s", &loop.records)
            retryAt = loop.now + Nanoseconds(seconds: seconds)
            socket.setState(.waiting)
            emit(type, info, &loop)
        case .stop:
            socket.setState(.closed)
            end(type, info, loop: &loop)
        case .restart:
            end(type, info, loop: &loop)
            open(&loop)
        }
    }

    // MARK: - The open connection

    private func failed(_ kind: String, _ reason: String, _ loop: inout LoopContext) {
        socket.debugLine("failed: \(reason)", &loop.records)
        var info = EventInfo(error: "Connection to \(socket.options.url?.description ?? "") failed: \(reason)")
        info.add("kind", kind)
        if case .retry(let seconds) = reconnectState.announceNext(loop.now, random: loop.random.next() ?? 0) {
            info.add("retryin", seconds)
        }
        emit(WS_EVENT_ERROR, info, &loop)
    }

    private func handle(_ progress: OpenConnection.Progress, _ loop: inout LoopContext) {
        guard progress == .over, let channel else { return }
        self.channel = nil
        let summary = channel.finish()
        let result = summary.result
        channel.shrink(&loop)
        if channel.lingers { lingerOn(to: channel, &loop) }
        socket.debugLine(
            "closed: \(result.code.rawValue), \(result.reason.isEmpty ? "" : "\(result.reason), ")\(result.isClean ? "clean" : "not clean"), "
                + "begun by \(result.isRemote ? "the peer" : "us"), \(summary.unsent) bytes unsent", &loop.records)
        var info = EventInfo()
        info.add("code", Int(result.code.rawValue))
        info.add("reason", result.reason)
        info.add("clean", result.isClean)
        info.add("remote", result.isRemote)
        info.add("unsent", summary.unsent)
        follow(reconnectState.lost(loop.now, random: loop.random.next() ?? 0), WS_EVENT_CLOSE, &info, &loop)
    }

    private func lingerOn(to channel: OpenConnection, _ loop: inout LoopContext) {
        guard !loop.isShuttingDown else { return }
        let lingeringClose = LingeringClose(channel.transport, fails: channel.closing.result?.isClean != true, &loop)
        guard !lingeringClose.isOver(&loop) else { return }
        if lingeringCloses.count == Self.lingeringCloseLimit { lingeringCloses.removeFirst() }
        lingeringCloses.append(lingeringClose)
    }

    // MARK: - Events

    private func emit(_ type: Int, _ info: EventInfo, flags: Int = 0, _ loop: inout LoopContext) {
        socket.publishEvent(type, info, flags: flags, &loop.records)
    }

    /// The last event of a start.
    private func end(_ type: Int = WS_EVENT_ENDED, _ info: EventInfo = EventInfo(), loop: inout LoopContext) {
        // Else the queue has ended it already (EventQueue.endWebsockets).
        guard socket.queue.websocketEnded(socket) else { return }
        emit(type, info, flags: WS_EVENT_FINAL, &loop)
    }
}
