// One attempt to open a connection: the name, the race of its addresses, a proxy's tunnel, TLS, the handshake,
// and all of it again where a redirect leads. Ends as an open connection or as a failure in words; Session decides
// what follows.

import WebSocketProtocol

final class ConnectAttempt {
    enum Progress {
        case pending
        case open(OpenConnection, EventInfo)
        case failed(Failure)
    }

    /// Why an attempt failed: what an ERROR event tells.
    struct Failure {
        /// `info.kind`
        var kind: String
        var reason: String
        /// Trying again would not help.
        var isPermanent = false
        /// Of a proxy's answer, when it is not the response's.
        var status: Int?
        var response: HTTPHead?
        /// The first bytes of the body of a refused handshake.
        var body = ""
    }

    private enum Stage {
        /// The files of the option tls are being read.
        case tlsContext(Poller.Token)
        case lookup(Host, Poller.Token)
        case race(ConnectRace)
        case proxy(ProxyExchange)
        case tlsHandshake(Transport, Address)
        case openingHandshake(HandshakeExchange)
        case over
    }

    private enum Host { case server, proxy }

    private static let userAgent = "lua-websocket"

    private let websocket: WebSocket
    private let slot: Int
    /// Where it leads now, and by how many redirects.
    private var url: WebSocketURL
    private var redirects = 0
    private var proxy: Proxy?
    /// What the proxy is asked to connect to: the URL's host, or its address.
    private var proxyTarget = ""
    private var stage = Stage.over
    private var tls: TLSContext?
    /// Whether the websocket was open before: its options can be used, and what is wrong now may pass.
    private let hasWorked: Bool
    /// When the whole attempt is given up.
    private let attemptDeadline: Nanoseconds

    init(_ websocket: WebSocket, _ url: WebSocketURL, slot: Int, hasWorked: Bool, now: Nanoseconds) {
        self.websocket = websocket
        self.hasWorked = hasWorked
        self.slot = slot
        self.url = url
        attemptDeadline = now + Nanoseconds(seconds: websocket.options.connectTimeout)
    }

    var deadline: Nanoseconds {
        switch stage {
        case .race(let race): min(attemptDeadline, race.nextStart ?? attemptDeadline)
        case .openingHandshake(let exchange): min(attemptDeadline, exchange.bodyDeadline ?? attemptDeadline)
        case .tlsContext, .lookup, .proxy, .tlsHandshake, .over: attemptDeadline
        }
    }

    // MARK: - From the URL to the connected socket

    func start(_ loop: inout LoopContext) -> Progress {
        do throws(Proxy.Failure) { proxy = try websocket.options.proxy(for: url) } catch {
            return fail(Failure(kind: "proxy", reason: error.reason))
        }
        tls = nil
        guard url.isSecure else { return findAddress(&loop) }
        let token = loop.poller.token(slot: slot)
        stage = .tlsContext(token)
        guard let context = loop.tlsContexts.context(tlsOptions, token, loop.commandQueue) else { return .pending }
        tls = context
        return findAddress(&loop)
    }

    /// Whether it still leads to where the script wanted: what it gave for there goes nowhere else.
    private var isOriginalOrigin: Bool { websocket.options.url.map { url.isSameOrigin(as: $0) } ?? true }

    private var tlsOptions: Options.TLS {
        isOriginalOrigin ? websocket.options.tls : websocket.options.tls.withoutIdentity
    }

    func tlsContextFinished(
        _ token: Poller.Token, _ result: Result<TLSContext, TLSFailure>, _ loop: inout LoopContext
    ) -> Progress {
        guard case .tlsContext(token) = stage else { return .pending }
        switch result {
        case .success(let context):
            tls = context
            return findAddress(&loop)
        case .failure(let failure): return tlsFailed(failure, &loop)
        }
    }

    /// Finds the address to connect to.
    private func findAddress(_ loop: inout LoopContext) -> Progress {
        if let path = url.socketPath {
            guard let address = Address(path: path) else {
                return fail(Failure(kind: "url", reason: "the path \(path) is too long", isPermanent: true))
            }
            return startRace([address], &loop)
        }
        proxyTarget = url.host
        guard let proxy, proxy.kind != .socks5 else { return startLookup(.server, &loop) }
        return startLookup(.proxy, &loop)
    }

    private func startLookup(_ name: Host, _ loop: inout LoopContext) -> Progress {
        let token = loop.poller.token(slot: slot)
        stage = .lookup(name, token)
        let (host, port) = name == .proxy ? (proxy?.host ?? "", proxy?.port ?? 0) : (url.host, url.port)
        guard let answer = Resolver.resolve(HostAndPort(host: host, port: port), token, &loop) else {
            return .pending
        }
        return lookupFinished(token, answer, &loop)
    }

    func lookupFinished(_ token: Poller.Token, _ resolution: Resolution, _ loop: inout LoopContext) -> Progress {
        guard case .lookup(let name, token) = stage else { return .pending }
        switch resolution {
        case .failed(let words):
            return name == .proxy
                ? proxyFailed("its host can't be resolved: \(words)")
                : fail(Failure(kind: "dns", reason: "can't resolve the host \(url.host): \(words)"))
        case .addresses(let addresses):
            // For socks5 the name is resolved here, and the proxy gets its address.
            guard name == .server, proxy != nil else { return startRace(addresses, &loop) }
            proxyTarget = addresses.first?.host ?? url.host
            return startLookup(.proxy, &loop)
        }
    }

    /// - Parameter reason: what is wrong with the proxy.
    private func proxyFailed(_ reason: String, _ failure: TunnelFailure? = nil) -> Progress {
        let status = failure?.status
        return fail(
            Failure(
                kind: "proxy", reason: "the proxy \(proxy?.description ?? ""): \(reason)",
                isPermanent: failure?.response != nil && Self.isPermanent(status), status: status,
                response: failure?.response))
    }

    private func startRace(_ addresses: [Address], _ loop: inout LoopContext) -> Progress {
        debugLine("connecting to \(addresses.map(\.description).joined(separator: ", "))", &loop)
        let race = ConnectRace(addresses, slot: slot)
        stage = .race(race)
        return raceAdvanced(race.startDueAttempts(&loop), &loop)
    }

    private func raceAdvanced(_ progress: ConnectRace.Progress, _ loop: inout LoopContext) -> Progress {
        switch progress {
        case .pending: return .pending
        case .failed(let words):
            return proxy == nil
                ? fail(Failure(kind: "connect", reason: words)) : proxyFailed("can't connect to \(words)")
        case .connected(let transport, let address):
            debugLine("connected to \(address.description)", &loop)
            return socketConnected(transport, address, &loop)
        }
    }

    private func socketConnected(_ transport: Transport, _ address: Address, _ loop: inout LoopContext) -> Progress {
        guard let proxy else { return startTLS(transport, address, &loop) }
        do throws(TunnelFailure) {
            let tunnel = try Tunnel(proxy, to: proxyTarget, port: url.port, userAgent: Self.userAgent)
            let proxyExchange = ProxyExchange(transport, address, tunnel)
            stage = .proxy(proxyExchange)
            return proxyAdvanced(proxyExchange, &loop)
        } catch {
            return proxyFailed(error.reason, error)
        }
    }

    private func proxyAdvanced(_ proxyExchange: ProxyExchange, _ loop: inout LoopContext) -> Progress {
        switch proxyExchange.advance(&loop) {
        case .pending: return .pending
        case .refused(let failure): return proxyFailed(failure.reason, failure)
        case .connectionLost(let words): return proxyFailed(words)
        case .established:
            debugLine("the proxy \(proxy?.description ?? "") connected to \(proxyTarget):\(url.port)", &loop)
            return startTLS(proxyExchange.transport, proxyExchange.address, &loop)
        }
    }

    // MARK: - TLS

    private func startTLS(_ transport: Transport, _ address: Address, _ loop: inout LoopContext) -> Progress {
        guard let tls else { return startHandshake(transport, address, &loop) }
        do throws(TLSFailure) { try transport.startTLS(tls, host: url.host, port: url.port) } catch {
            return tlsFailed(error, &loop)
        }
        stage = .tlsHandshake(transport, address)
        return tlsAdvanced(transport, address, &loop)
    }

    private func tlsAdvanced(_ transport: Transport, _ address: Address, _ loop: inout LoopContext) -> Progress {
        let reason: String
        switch transport.continueTLSHandshake() {
        case .wouldBlock:
            transport.setInterest(.read, loop.poller)
            transport.requestTurnIfPending(&loop)
            return .pending
        case .bytes:
            debugLine("TLS: \(transport.tls?.description ?? "")", &loop)
            return startHandshake(transport, address, &loop)
        case .failed(.tls(let failure)): return tlsFailed(failure, &loop)
        case .end: reason = "the server closed the connection during the TLS handshake"
        case .failed(let fault): reason = "the connection broke during the TLS handshake: \(fault.words)"
        }
        return tlsFailed(TLSFailure(reason: reason, cause: .temporary), &loop)
    }

    private func tlsFailed(_ failure: TLSFailure, _ loop: inout LoopContext) -> Progress {
        // Another attempt may find other files.
        loop.tlsContexts.invalidate(tlsOptions)
        let isPermanent =
            switch failure.cause {
            case .permanent: true
            case .options: !hasWorked
            case .temporary: false
            }
        return fail(Failure(kind: "tls", reason: failure.reason, isPermanent: isPermanent))
    }

    private func debugLine(_ line: @autoclosure () -> String, _ loop: inout LoopContext) {
        websocket.debugLine(line(), &loop.records)
    }

    private func fail(_ failure: Failure) -> Progress {
        stage = .over
        return .failed(failure)
    }

    // MARK: - Readiness and time

    func ready(_ readiness: Poller.Readiness, _ loop: inout LoopContext) -> Progress {
        switch stage {
        case .race(let race): return raceAdvanced(race.ready(readiness.token, &loop), &loop)
        case .proxy(let proxyExchange):
            return proxyExchange.transport.shouldHandle(readiness) ? proxyAdvanced(proxyExchange, &loop) : .pending
        case .tlsHandshake(let transport, let address):
            guard transport.shouldHandle(readiness) else { return .pending }
            if readiness.isRequestedTurn { return tlsAdvanced(transport, address, &loop) }
            // A step takes a millisecond: where many open at once, each waits for its share of a turn.
            transport.requestAnotherTurn(&loop)
            return .pending
        case .openingHandshake(let exchange):
            return exchange.transport.shouldHandle(readiness) ? handshakeAdvanced(exchange, &loop) : .pending
        case .tlsContext, .lookup, .over: return .pending
        }
    }

    func timeout(_ loop: inout LoopContext) -> Progress {
        guard loop.now >= attemptDeadline else {
            switch stage {
            case .race(let race): return raceAdvanced(race.startDueAttempts(&loop), &loop)
            case .openingHandshake(let exchange):
                guard let bodyDeadline = exchange.bodyDeadline, loop.now >= bodyDeadline else { return .pending }
                return handshakeRefused(exchange)
            case .tlsContext, .lookup, .proxy, .tlsHandshake, .over: return .pending
            }
        }
        switch stage {
        case .tlsContext: return timedOut("the files of the option tls could not be read")
        case .lookup(let name, _):
            let host = name == .proxy ? "\(proxy?.host ?? "") of the proxy" : url.host
            return timedOut("the host \(host) could not be resolved")
        case .proxy: return timedOut("the proxy \(proxy?.description ?? "") did not answer")
        case .race(let race):
            let whose = proxy.map { " of the proxy \($0.description)" } ?? ""
            return timedOut("no address\(whose) answered (\(race.summary))")
        case .tlsHandshake: return timedOut("the server did not finish the TLS handshake")
        case .openingHandshake(let exchange):
            return exchange.bodyDeadline == nil
                ? timedOut("the server did not answer the handshake") : handshakeRefused(exchange)
        case .over: return .pending
        }
    }

    private func timedOut(_ what: String) -> Progress {
        let seconds = "\(websocket.options.connectTimeout)"
        return fail(Failure(kind: "timeout", reason: "\(what) within the connecttimeout of \(seconds) s"))
    }

    // MARK: - The opening handshake

    private func startHandshake(_ transport: Transport, _ address: Address, _ loop: inout LoopContext) -> Progress {
        guard let nonce = loop.random.words(4) else {
            return fail(Failure(kind: "system", reason: SystemError("getrandom").description))
        }
        let options = websocket.options
        let handshake = ClientHandshake(
            url: url, headers: isOriginalOrigin ? options.headers : options.headers.withoutCredentials(),
            subprotocols: options.protocols, deflate: options.deflate?.parameters, nonce: nonce,
            userAgent: Self.userAgent)
        if options.debug {
            for line in redactedLines(ofRequest: handshake.request) { debugLine("> \(line)", &loop) }
        }
        let exchange = HandshakeExchange(transport, address, handshake)
        stage = .openingHandshake(exchange)
        return handshakeAdvanced(exchange, &loop)
    }

    private func handshakeAdvanced(_ exchange: HandshakeExchange, _ loop: inout LoopContext) -> Progress {
        let progress = exchange.advance(&loop)
        if case .pending = progress { return .pending }
        if websocket.options.debug {
            for line in exchange.head?.redactedLines ?? [] { debugLine("< \(line)", &loop) }
        }
        switch progress {
        case .pending: return .pending
        case .redirected(let head): return followRedirect(exchange, head, &loop)
        case .refused: return handshakeRefused(exchange)
        case .connectionLost(let words): return fail(Failure(kind: "handshake", reason: words))
        case .tlsFailed(let failure): return tlsFailed(failure, &loop)
        case .invalidResponse(let failure):
            return fail(
                Failure(kind: "handshake", reason: failure.reason, isPermanent: true, response: exchange.head))
        case .completed(let agreement, let rest):
            stage = .over
            return handshakeCompleted(exchange, agreement, rest, &loop)
        }
    }

    // MARK: - Redirects

    /// RFC 9110 section 15.4: another attempt of the same request, at another place.
    private func followRedirect(_ exchange: HandshakeExchange, _ head: HTTPHead, _ loop: inout LoopContext) -> Progress
    {
        func refused(_ why: String) -> Progress {
            fail(Failure(kind: "handshake", reason: "\(exchange.refusal), \(why)", response: head))
        }
        guard redirects < websocket.options.maxRedirects else {
            return refused("and maxredirects is \(websocket.options.maxRedirects)")
        }
        guard let location = head.fields["Location"] else { return refused("without saying where to") }
        let target: WebSocketURL
        do throws(WebSocketURL.Failure) { target = try url.resolving(location) } catch {
            return refused("and leads to a bad URL: \(error.problem)")
        }
        guard target.isSecure || !url.isSecure else {
            return refused("and leads from TLS to \(target.redactedDescription), which has none")
        }
        debugLine("redirected by \(url.redactedDescription) to \(target.redactedDescription)", &loop)
        redirects += 1
        url = target
        return start(&loop)
    }

    // MARK: - Answers

    /// Statuses that say no for good, also of a proxy, and answers that no WebSocket server gives.
    private static func isPermanent(_ status: Int?) -> Bool {
        switch status {
        case 400, 401, 403, 404, 405, 407, 410, 426: true
        case let status?: (200...299).contains(status)
        case nil: false
        }
    }

    private func handshakeRefused(_ exchange: HandshakeExchange) -> Progress {
        fail(
            Failure(
                kind: "handshake", reason: exchange.refusal, isPermanent: Self.isPermanent(exchange.head?.status),
                response: exchange.head, body: exchange.body))
    }

    private func handshakeCompleted(
        _ exchange: HandshakeExchange, _ agreement: ClientHandshake.Agreement, _ rest: [UInt8],
        _ loop: inout LoopContext
    ) -> Progress {
        guard let key = loop.random.next() else {
            return fail(Failure(kind: "system", reason: SystemError("getrandom").description))
        }
        var info = EventInfo()
        info.add("protocol", agreement.subprotocol)
        info.add("extensions", agreement.extensions)
        if let head = exchange.head { info.add("headers", head.fields) }
        info.add("address", exchange.address.description)
        info.add("url", url.description)
        let connection = OpenConnection(
            websocket, exchange.transport, agreement, rest, key: key, now: loop.now)
        return .open(connection, info)
    }
}
