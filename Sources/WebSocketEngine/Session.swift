// The engine's part of one websocket, from the script's connect to its end: an attempt, an open channel or a
// wait, as its lifecycle says, and the OPEN, ERROR and CLOSE events that go with them.

import CEvents
import WebSocketProtocol

final class Session {
    let socket: WebSocket
    let slot: Int

    private var channel: Channel?
    /// Sockets of connections that are over.
    private var farewells: [Farewell] = []
    private var opening: Opening?
    private var lifecycle: Lifecycle
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
        lifecycle = Lifecycle(
            backoff: Backoff(minimum: options.minReconnectWait, maximum: options.maxReconnectWait),
            reconnect: options.reconnect)
    }

    /// Nothing goes on: the loop may forget it.
    var isOver: Bool { lifecycle.phase == .stopped && farewells.isEmpty }

    // MARK: - What the script wants

    func connect(_ reactor: inout Reactor) { perform(lifecycle.connect(), &reactor) }

    func close(_ frame: CloseFrame, _ reactor: inout Reactor) {
        perform(lifecycle.close(), closing: frame, &reactor)
        if let channel, socket.isAbandoned { handle(channel.abandon(&reactor), &reactor) }
    }

    /// Time is up for what was sent to leave.
    func drop(_ reactor: inout Reactor) {
        handle(Channel.Progress.over, &reactor)
        farewells = []
    }

    /// The process ends.
    func leave(_ reactor: inout Reactor) {
        farewells = []
        socket.forsake()
        close(CloseFrame(code: .goingAway), &reactor)
    }

    private func perform(_ action: Lifecycle.Action, closing frame: CloseFrame? = nil, _ reactor: inout Reactor) {
        switch action {
        case .none: break
        case .open: open(&reactor)
        case .abort:
            opening = nil
            retryAt = nil
            socket.entered(.closed)
            end(reactor: &reactor)
        case .cancel: end(reactor: &reactor)
        case .close:
            guard let channel, let frame else { return }
            handle(channel.close(frame, &reactor), &reactor)
        }
    }

    func flush(_ reactor: inout Reactor) {
        guard let channel else { return }
        handle(channel.flush(&reactor), &reactor)
    }

    func resume(_ reactor: inout Reactor) {
        if let channel {
            handle(channel.resume(&reactor), &reactor)
        } else if lifecycle.phase == .waiting, retryAt == nil {
            retry(&reactor)
        }
    }

    /// Lua has no memory for a message of this many bytes, which came with the connection of this number.
    func refuse(_ bytes: Int, connection number: UInt32, _ reactor: inout Reactor) {
        guard let channel, socket.outbox.withLock({ $0.connection }) == number else { return }
        handle(channel.refuse(bytes, &reactor), &reactor)
    }

    // MARK: - What the network does

    func ready(_ readiness: Poller.Readiness, _ reactor: inout Reactor) {
        // Only `handle` lets it go: nothing is counted for a message.
        if let channel = channel.map({ Unmanaged.passUnretained($0) }) {
            handle(channel._withUnsafeGuaranteedRef { $0.ready(readiness, &reactor) }, &reactor)
        } else if let opening {
            handle(opening.ready(readiness, &reactor), &reactor)
        }
        if !farewells.isEmpty { farewells.removeAll { $0.ready(readiness, &reactor) } }
    }

    func resolved(_ token: Poller.Token, _ resolution: Resolution, _ reactor: inout Reactor) {
        guard let opening else { return }
        handle(opening.resolved(token, resolution, &reactor), &reactor)
    }

    func prepared(_ token: Poller.Token, _ result: Result<TLSContext, TLSFailure>, _ reactor: inout Reactor) {
        guard let opening else { return }
        handle(opening.prepared(token, result, &reactor), &reactor)
    }

    // MARK: - Time

    /// Sees to it that `timeout` is called when the next deadline has come.
    @inline(__always)
    func schedule(_ reactor: inout Reactor) {
        let current = channel?.deadline ?? opening?.deadline ?? retryAt
        let deadline = farewells.isEmpty ? current : earlier(current, farewells.first?.deadline)
        // One that moves on with every read is looked at again when its old time has come.
        if let deadline, let scheduled, scheduled <= deadline { return }
        guard deadline != scheduled else { return }
        scheduled = deadline
        reactor.timers.set(deadline, for: slot)
    }

    func timeout(_ reactor: inout Reactor) {
        if let scheduled, scheduled <= reactor.now { self.scheduled = nil }
        let now = reactor.now
        if !farewells.isEmpty { farewells.removeAll { $0.deadline <= now } }
        if let channel {
            handle(channel.timeout(&reactor), &reactor)
        } else if let opening {
            handle(opening.timeout(&reactor), &reactor)
        } else if let retryAt, retryAt <= reactor.now {
            self.retryAt = nil
            retry(&reactor)
        }
    }

    private func retry(_ reactor: inout Reactor) {
        // The events of connections that come and go would pile up: `resume` tries again.
        guard !socket.isFull else { return }
        lifecycle.retry()
        open(&reactor)
    }

    // MARK: - Attempts

    private func open(_ reactor: inout Reactor) {
        guard let url = socket.options.url else { return }
        socket.entered(.connecting)
        socket.attempted(lifecycle.attempts)
        socket.note("attempt \(lifecycle.attempts) at \(url.redactedDescription)", &reactor.log)
        let opening = Opening(socket, url, slot: slot, hasWorked: hasOpened, now: reactor.now)
        self.opening = opening
        handle(opening.start(&reactor), &reactor)
    }

    private func handle(_ progress: Opening.Progress, _ reactor: inout Reactor) {
        switch progress {
        case .pending: break
        case .failed(let failure):
            opening = nil
            failed(failure, &reactor)
        case .open(let channel, let info):
            opening = nil
            // Before the script hears of it: it may send as soon as it does.
            guard channel.open() else {
                // Its `close` came first, and the command for it is on its way.
                _ = channel.close(CloseFrame(code: .goingAway), &reactor)
                bidFarewell(to: channel, &reactor)
                return
            }
            self.channel = channel
            hasOpened = true
            lifecycle.opened(reactor.now)
            socket.attempted(lifecycle.attempts)
            channel.failed = { [unowned self] in failed($0, $1, &$2) }
            emit(WS_EVENT_OPEN, info, &reactor)
            handle(channel.start(&reactor), &reactor)
        }
    }

    private func failed(_ failure: Opening.Failure, _ reactor: inout Reactor) {
        socket.note("failed: \(failure.reason)", &reactor.log)
        var info = Info(error: "Unable to connect to \(socket.options.url?.description ?? ""): \(failure.reason)")
        info.add("kind", failure.kind)
        info.add("attempt", lifecycle.attempts)
        if let status = failure.status ?? failure.response?.status { info.add("status", status) }
        if let response = failure.response {
            info.add("headers", response.fields)
            info.add("body", failure.body)
        }
        // RFC 9110 section 10.2.3: no server may park a client for longer than a minute, unless the
        // script waits longer of its own accord.
        let asked = failure.response?.retryAfter ?? 0
        let atLeast = min(asked, max(socket.options.maxReconnectWait, 60))
        let next = lifecycle.failed(
            permanent: failure.isPermanent, atLeast: atLeast, random: reactor.random.next() ?? 0)
        follow(next, WS_EVENT_ERROR, &info, &reactor)
    }

    /// The event of an end, and what comes after it.
    private func follow(
        _ next: Lifecycle.Next, _ type: Int, _ info: inout Info, _ reactor: inout Reactor
    ) {
        switch next {
        case .retry(let seconds):
            info.add("retryin", seconds)
            socket.note("next attempt in \(seconds) s", &reactor.log)
            retryAt = reactor.now + Nanoseconds(seconds: seconds)
            socket.entered(.waiting)
            emit(type, info, &reactor)
        case .stop:
            socket.entered(.closed)
            end(type, info, reactor: &reactor)
        case .restart:
            end(type, info, reactor: &reactor)
            open(&reactor)
        }
    }

    // MARK: - The open connection

    private func failed(_ kind: String, _ reason: String, _ reactor: inout Reactor) {
        socket.note("failed: \(reason)", &reactor.log)
        var info = Info(error: "Connection to \(socket.options.url?.description ?? "") failed: \(reason)")
        info.add("kind", kind)
        if case .retry(let seconds) = lifecycle.foresee(reactor.now, random: reactor.random.next() ?? 0) {
            info.add("retryin", seconds)
        }
        emit(WS_EVENT_ERROR, info, &reactor)
    }

    private func handle(_ progress: Channel.Progress, _ reactor: inout Reactor) {
        guard progress == .over, let channel else { return }
        self.channel = nil
        let summary = channel.summary()
        channel.shrink(&reactor)
        if channel.isDone, !channel.hasEnded { bidFarewell(to: channel, &reactor) }
        socket.note(
            "closed: \(summary.code.rawValue), \(summary.reason.isEmpty ? "" : "\(summary.reason), ")\(summary.isClean ? "clean" : "not clean"), "
                + "begun by \(summary.isRemote ? "the peer" : "us"), \(summary.unsent) bytes unsent", &reactor.log)
        var info = Info()
        info.add("code", Int(summary.code.rawValue))
        info.add("reason", summary.reason)
        info.add("clean", summary.isClean)
        info.add("remote", summary.isRemote)
        info.add("unsent", summary.unsent)
        follow(lifecycle.lost(reactor.now, random: reactor.random.next() ?? 0), WS_EVENT_CLOSE, &info, &reactor)
    }

    private func bidFarewell(to channel: Channel, _ reactor: inout Reactor) {
        guard !reactor.isLeaving else { return }
        let farewell = Farewell(channel.transport, fails: !channel.isClean, &reactor)
        if !farewell.isOver(&reactor) { farewells.append(farewell) }
    }

    // MARK: - Events

    private func emit(_ type: Int, _ info: Info, flags: Int = 0, _ reactor: inout Reactor) {
        socket.emit(type, info, flags: flags, &reactor.log)
    }

    /// The last event of a start.
    private func end(_ type: Int = WS_EVENT_ENDED, _ info: Info = Info(), reactor: inout Reactor) {
        socket.queue.ended(socket)
        emit(type, info, flags: WS_EVENT_FINAL, &reactor)
    }
}
