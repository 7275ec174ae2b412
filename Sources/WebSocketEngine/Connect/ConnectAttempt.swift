// One attempt to open a connection: the question to the script, the options' TLS files, the name lookup, the race of the addresses, the proxy, the
// TLS handshake, the opening handshake, in this order, and all of it again for a redirect. It ends with an open
// connection or with a failure in words. Session owns it and decides what follows; all calls are on the thread that
// runs the loop.
//
// This file has the stages up to the connected socket and the deadlines; +Question has the first one, +TLS and +Handshake
// have the last.

import WebSocketProtocol

final class ConnectAttempt: Opening {
    typealias Progress = OpeningProgress
    typealias Failure = OpeningFailure

    /// What the attempt waits for.
    enum Stage {
        /// The script has a question of this number (option `onattempt`).
        case question(UInt32)
        /// A thread reads the files of the option `tls`.
        case tlsContext(Poller.Token)
        case lookup(Host, Poller.Token)
        case race(ConnectRace)
        case proxy(ProxyExchange)
        case tlsHandshake(Transport, Address)
        case openingHandshake(HandshakeExchange)
        case over
    }

    enum Host { case server, proxy }

    static let userAgent = "lua-websocket"

    let websocket: WebSocket
    /// The websocket's, with what the script has answered for this attempt.
    var options: Options
    /// As the script counts attempts.
    let number: Int
    let slot: Int
    /// The options' URL, or that of the last redirect.
    var url: WebSocketURL
    var redirects = 0
    private var proxy: Proxy?
    /// Host that the proxy connects to: the URL's, or for a SOCKS proxy that takes only addresses, its address.
    private var proxyTarget = ""
    var stage = Stage.over
    /// Set if the URL is secure, once it is made.
    var tls: TLSContext?
    /// Whether the websocket was open before: then its options are right, and what fails now may pass.
    let hasWorked: Bool
    /// When the whole attempt fails, redirects included (`connecttimeout`).
    private var attemptDeadline: Nanoseconds

    init(
        _ websocket: WebSocket, _ url: WebSocketURL, number: Int = 1, slot: Int, hasWorked: Bool, now: Nanoseconds
    ) {
        self.websocket = websocket
        options = websocket.options
        self.number = number
        self.hasWorked = hasWorked
        self.slot = slot
        self.url = url
        attemptDeadline = now + Nanoseconds(seconds: options.connectTimeout)
    }

    var peer: String { "to \(options.url?.description ?? "")" }

    /// The time of `connecttimeout` begins.
    func renewDeadline(_ now: Nanoseconds) {
        attemptDeadline = now + Nanoseconds(seconds: options.connectTimeout)
    }

    /// Connects to `url`; called again after a redirect.
    func start(_ loop: inout LoopContext) -> Progress {
        do throws(Proxy.Failure) { proxy = try options.proxy(for: url) } catch {
            return fail(Failure(kind: "proxy", reason: error.reason))
        }
        tls = nil
        return url.isSecure ? makeTLSContext(&loop) : findAddress(&loop)
    }

    /// The session waits no longer for this attempt.
    func cancel(_ loop: inout LoopContext) {
        switch stage {
        case .question: websocket.questionEnded()
        case .lookup(let host, let token): loop.resolver.cancel(hostAndPort(of: host), token)
        case .tlsContext(let token): loop.tlsContexts.cancel(tlsOptions, token)
        case .race, .proxy, .tlsHandshake, .openingHandshake, .over: break
        }
        stage = .over
    }

    /// Ends the attempt.
    func fail(_ failure: Failure) -> Progress {
        stage = .over
        return .failed(failure)
    }

    func debugLine(_ line: @autoclosure () -> String, _ loop: inout LoopContext) {
        websocket.debugLine(line(), &loop.records)
    }

    /// Whether `url` has the origin of the options' URL: only that one gets the script's credentials and certificate.
    var isOriginalOrigin: Bool { options.url.map { url.isSameOrigin(as: $0) } ?? true }

    // MARK: - Address

    func findAddress(_ loop: inout LoopContext) -> Progress {
        if url.socketPath != nil { return startLookup(of: .server, &loop) }
        proxyTarget = url.host
        // A `socks5:` proxy takes addresses only: the server's name is looked up here.
        guard let proxy, proxy.kind != .socks5 else { return startLookup(of: .server, &loop) }
        return startLookup(of: .proxy, &loop)
    }

    private func hostAndPort(of host: Host) -> HostAndPort {
        guard host == .proxy, let proxy else {
            return HostAndPort(host: url.socketPath ?? url.host, zone: url.zone, port: url.port)
        }
        return HostAndPort(host: proxy.host, zone: proxy.zone, port: proxy.port)
    }

    private func startLookup(of host: Host, _ loop: inout LoopContext) -> Progress {
        let token = loop.poller.token(slot: slot)
        stage = .lookup(host, token)
        guard let answer = loop.resolver.resolve(hostAndPort(of: host), token, loop.commandQueue) else {
            return .pending
        }
        return lookupFinished(token, answer, &loop)
    }

    /// - Parameter token: of the lookup; one of an earlier stage is ignored.
    func lookupFinished(_ token: Poller.Token, _ resolution: Resolution, _ loop: inout LoopContext) -> Progress {
        guard case .lookup(let host, token) = stage else { return .pending }
        switch resolution {
        case .failed(let words):
            return host == .proxy
                ? proxyFailed("its host can't be resolved: \(words)")
                : fail(Failure(kind: "dns", reason: "can't resolve the host \(url.host): \(words)"))
        case .addresses(let addresses):
            guard host == .server, proxy != nil else { return startRace(addresses, &loop) }
            proxyTarget = addresses.first?.host ?? url.host
            return startLookup(of: .proxy, &loop)
        }
    }

    // MARK: - Connected socket

    private func startRace(_ addresses: [Address], _ loop: inout LoopContext) -> Progress {
        guard let option = options.localAddress, url.socketPath == nil else {
            return startRace(addresses, from: nil, &loop)
        }
        let local: Address
        do throws(SystemError) { local = try option.socketAddress() } catch { return bindFailed(error) }
        let reachable = addresses.filter { $0.family == local.family }
        guard !reachable.isEmpty || addresses.isEmpty else {
            let names = addresses.map(\.description).joined(separator: ", ")
            return fail(Failure(kind: "connect", reason: "localaddress \(option.description) can't reach \(names)"))
        }
        debugLine("connecting from \(option.description)", &loop)
        return startRace(reachable, from: local, &loop)
    }

    private func startRace(_ addresses: [Address], from local: Address?, _ loop: inout LoopContext) -> Progress {
        debugLine("connecting to \(addresses.map(\.description).joined(separator: ", "))", &loop)
        let race = ConnectRace(addresses, from: local, slot: slot)
        stage = .race(race)
        return raceAdvanced(race.startDueAttempts(&loop), &loop)
    }

    private func bindFailed(_ error: SystemError) -> Progress {
        let text = options.localAddress?.description ?? ""
        return fail(Failure(kind: "connect", reason: "localaddress \(text): \(SystemError.message(error.number))"))
    }

    private func raceAdvanced(_ progress: ConnectRace.Progress, _ loop: inout LoopContext) -> Progress {
        switch progress {
        case .pending: return .pending
        case .bindFailed(let error): return bindFailed(error)
        case .failed(let words):
            return proxy == nil
                ? fail(Failure(kind: "connect", reason: words)) : proxyFailed("can't connect to \(words)")
        case .connected(let transport, let address):
            debugLine("connected to \(address.description)", &loop)
            return startProxy(transport, address, &loop)
        }
    }

    /// Goes on with TLS if there is no proxy.
    private func startProxy(_ transport: Transport, _ address: Address, _ loop: inout LoopContext) -> Progress {
        guard let proxy else { return startTLS(transport, address, &loop) }
        do throws(TunnelFailure) {
            let tunnel = try Tunnel(proxy, to: proxyTarget, port: url.port, userAgent: Self.userAgent)
            let exchange = ProxyExchange(transport, address, tunnel)
            stage = .proxy(exchange)
            return proxyAdvanced(exchange, &loop)
        } catch {
            return proxyFailed(error.reason, error)
        }
    }

    private func proxyAdvanced(_ exchange: ProxyExchange, _ loop: inout LoopContext) -> Progress {
        switch exchange.advance(&loop) {
        case .pending: return .pending
        case .refused(let failure): return proxyFailed(failure.reason, failure)
        case .connectionLost(let words): return proxyFailed(words)
        case .established:
            debugLine("the proxy \(proxy?.description ?? "") connected to \(proxyTarget):\(url.port)", &loop)
            return startTLS(exchange.transport, exchange.address, &loop)
        }
    }

    /// - Parameter reason: what is wrong with the proxy.
    private func proxyFailed(_ reason: String, _ failure: TunnelFailure? = nil) -> Progress {
        let status = failure?.status
        return fail(
            Failure(
                kind: "proxy", reason: "the proxy \(proxy?.description ?? ""): \(reason)",
                isPermanent: failure?.response != nil && Self.isPermanent(status: status), status: status,
                response: failure?.response))
    }

    // MARK: - Readiness

    func ready(_ readiness: Poller.Readiness, _ loop: inout LoopContext) -> Progress {
        switch stage {
        case .race(let race): return raceAdvanced(race.ready(readiness.token, &loop), &loop)
        case .proxy(let exchange):
            return exchange.transport.shouldHandle(readiness) ? proxyAdvanced(exchange, &loop) : .pending
        case .tlsHandshake(let transport, let address):
            guard transport.shouldHandle(readiness) else { return .pending }
            if readiness.isRequestedTurn { return tlsAdvanced(transport, address, &loop) }
            // A step takes a millisecond: if many attempts are ready at once, each takes its step in a turn of its own.
            transport.requestAnotherTurn(&loop)
            return .pending
        case .openingHandshake(let exchange):
            return exchange.transport.shouldHandle(readiness) ? handshakeAdvanced(exchange, &loop) : .pending
        case .question, .tlsContext, .lookup, .over: return .pending
        }
    }

    // MARK: - Time

    /// When `timeout` is to be called.
    var deadline: Nanoseconds {
        switch stage {
        case .race(let race): min(attemptDeadline, race.nextStart ?? attemptDeadline)
        case .openingHandshake(let exchange): min(attemptDeadline, exchange.refusal?.deadline ?? attemptDeadline)
        case .question, .tlsContext, .lookup, .proxy, .tlsHandshake, .over: attemptDeadline
        }
    }

    func timeout(_ loop: inout LoopContext) -> Progress {
        let isOver = loop.now >= attemptDeadline
        switch stage {
        case .over: return .pending
        case .openingHandshake(let exchange):
            if let refusal = exchange.refusal, isOver || loop.now >= refusal.deadline {
                return handshakeRefused(refusal)
            }
        case .race(let race): if !isOver { return raceAdvanced(race.startDueAttempts(&loop), &loop) }
        case .question, .tlsContext, .lookup, .proxy, .tlsHandshake: break
        }
        guard isOver, let what = overdue else { return .pending }
        cancel(&loop)
        let seconds = "\(options.connectTimeout)"
        return fail(Failure(kind: "timeout", reason: "\(what) within the connecttimeout of \(seconds) s"))
    }

    /// What has not happened in time, in words.
    private var overdue: String? {
        switch stage {
        case .question: return "onattempt gave no answer"
        case .tlsContext: return "the files of the option tls could not be read"
        case .lookup(let host, _):
            if let path = url.socketPath { return "the Unix socket \(path) could not be found" }
            return "the host \(host == .proxy ? "\(proxy?.host ?? "") of the proxy" : url.host) could not be resolved"
        case .proxy: return "the proxy \(proxy?.description ?? "") did not answer"
        case .race(let race):
            let whose = proxy.map { " of the proxy \($0.description)" } ?? ""
            return "no address\(whose) answered (\(race.summary))"
        case .tlsHandshake: return "the server did not finish the TLS handshake"
        case .openingHandshake: return "the server did not answer the handshake"
        case .over: return nil
        }
    }
}
