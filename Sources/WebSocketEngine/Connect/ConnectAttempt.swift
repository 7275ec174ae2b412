// One attempt to open a connection: the name, the race of its addresses, a proxy's tunnel, TLS, the handshake,
// and all of it again where a redirect leads. Ends as an open channel or as a failure in words; Session decides
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
        case preparing(Poller.Token)
        case resolving(Name, Poller.Token)
        case connecting(ConnectRace)
        case proxyExchange(ProxyExchange)
        case securing(Transport, Address)
        case exchange(HandshakeExchange)
        case over
    }

    private enum Name { case server, proxy }

    private static let userAgent = "lua-websocket"

    private let socket: WebSocket
    private let slot: Int
    /// Where it leads now, and by how many redirects.
    private var url: WebSocketURL
    private var redirects = 0
    private var proxy: Proxy?
    /// What the proxy is asked to connect to: the URL's host, or its address.
    private var destination = ""
    private var stage = Stage.over
    private var tls: TLSContext?
    /// Whether the websocket was open before: its options can be used, and what is wrong now may pass.
    private let hasWorked: Bool
    /// When the whole attempt is given up.
    private let limit: Nanoseconds

    init(_ socket: WebSocket, _ url: WebSocketURL, slot: Int, hasWorked: Bool, now: Nanoseconds) {
        self.socket = socket
        self.hasWorked = hasWorked
        self.slot = slot
        self.url = url
        limit = now + Nanoseconds(seconds: socket.options.connectTimeout)
    }

    var deadline: Nanoseconds {
        switch stage {
        case .connecting(let race): min(limit, race.nextStart ?? limit)
        case .exchange(let exchange): min(limit, exchange.bodyLimit ?? limit)
        case .preparing, .resolving, .proxyExchange, .securing, .over: limit
        }
    }

    // MARK: - From the URL to the connected socket

    func start(_ loop: inout LoopContext) -> Progress {
        do throws(Proxy.Failure) { proxy = try socket.options.proxy(for: url) } catch {
            return failed(Failure(kind: "proxy", reason: error.reason))
        }
        tls = nil
        guard url.isSecure else { return locate(&loop) }
        let token = loop.poller.token(slot: slot)
        stage = .preparing(token)
        guard let context = loop.tlsContexts.context(tlsOptions, token, loop.commandQueue) else { return .pending }
        tls = context
        return locate(&loop)
    }

    /// Whether it still leads to where the script wanted: what it gave for there goes nowhere else.
    private var isOriginalOrigin: Bool { socket.options.url.map { url.isSameOrigin(as: $0) } ?? true }

    private var tlsOptions: Options.TLS { isOriginalOrigin ? socket.options.tls : socket.options.tls.withoutIdentity }

    func prepared(
        _ token: Poller.Token, _ result: Result<TLSContext, TLSFailure>, _ loop: inout LoopContext
    ) -> Progress {
        guard case .preparing(token) = stage else { return .pending }
        switch result {
        case .success(let context):
            tls = context
            return locate(&loop)
        case .failure(let failure): return tlsFailed(failure, &loop)
        }
    }

    /// Finds the address to connect to.
    private func locate(_ loop: inout LoopContext) -> Progress {
        if let path = url.socketPath {
            guard let address = Address(path: path) else {
                return failed(Failure(kind: "url", reason: "the path \(path) is too long", isPermanent: true))
            }
            return race([address], &loop)
        }
        destination = url.host
        guard let proxy, proxy.kind != .socks5 else { return resolve(.server, &loop) }
        return resolve(.proxy, &loop)
    }

    private func resolve(_ name: Name, _ loop: inout LoopContext) -> Progress {
        let token = loop.poller.token(slot: slot)
        stage = .resolving(name, token)
        let (host, port) = name == .proxy ? (proxy?.host ?? "", proxy?.port ?? 0) : (url.host, url.port)
        guard let answer = Resolver.resolve(HostAndPort(host: host, port: port), token, &loop) else {
            return .pending
        }
        return resolved(token, answer, &loop)
    }

    func resolved(_ token: Poller.Token, _ resolution: Resolution, _ loop: inout LoopContext) -> Progress {
        guard case .resolving(let name, token) = stage else { return .pending }
        switch resolution {
        case .failed(let words):
            return name == .proxy
                ? proxyFailed("its host can't be resolved: \(words)")
                : failed(Failure(kind: "dns", reason: "can't resolve the host \(url.host): \(words)"))
        case .addresses(let addresses):
            // For socks5 the name is resolved here, and the proxy gets its address.
            guard name == .server, proxy != nil else { return race(addresses, &loop) }
            destination = addresses.first?.host ?? url.host
            return resolve(.proxy, &loop)
        }
    }

    /// - Parameter reason: what is wrong with the proxy.
    private func proxyFailed(_ reason: String, _ failure: TunnelFailure? = nil) -> Progress {
        let status = failure?.status
        return failed(
            Failure(
                kind: "proxy", reason: "the proxy \(proxy?.description ?? ""): \(reason)",
                isPermanent: failure?.response != nil && Self.isPermanent(status), status: status,
                response: failure?.response))
    }

    private func race(_ addresses: [Address], _ loop: inout LoopContext) -> Progress {
        note("connecting to \(addresses.map(\.description).joined(separator: ", "))", &loop)
        let race = ConnectRace(addresses, slot: slot)
        stage = .connecting(race)
        return raceAdvanced(race.advance(&loop), &loop)
    }

    private func raceAdvanced(_ progress: ConnectRace.Progress, _ loop: inout LoopContext) -> Progress {
        switch progress {
        case .pending: return .pending
        case .failed(let words):
            return proxy == nil
                ? failed(Failure(kind: "connect", reason: words)) : proxyFailed("can't connect to \(words)")
        case .connected(let transport, let address):
            note("connected to \(address.description)", &loop)
            return connected(transport, address, &loop)
        }
    }

    private func connected(_ transport: Transport, _ address: Address, _ loop: inout LoopContext) -> Progress {
        guard let proxy else { return secure(transport, address, &loop) }
        do throws(TunnelFailure) {
            let tunnel = try Tunnel(proxy, to: destination, port: url.port, userAgent: Self.userAgent)
            let proxyExchange = ProxyExchange(transport, address, tunnel)
            stage = .proxyExchange(proxyExchange)
            return proxyAdvanced(proxyExchange, &loop)
        } catch {
            return proxyFailed(error.reason, error)
        }
    }

    private func proxyAdvanced(_ proxyExchange: ProxyExchange, _ loop: inout LoopContext) -> Progress {
        switch proxyExchange.advance(&loop) {
        case .pending: return .pending
        case .refused(let failure): return proxyFailed(failure.reason, failure)
        case .broken(let words): return proxyFailed(words)
        case .established:
            note("the proxy \(proxy?.description ?? "") connected to \(destination):\(url.port)", &loop)
            return secure(proxyExchange.transport, proxyExchange.address, &loop)
        }
    }

    // MARK: - TLS

    private func secure(_ transport: Transport, _ address: Address, _ loop: inout LoopContext) -> Progress {
        guard let tls else { return handshake(transport, address, &loop) }
        do throws(TLSFailure) { try transport.startTLS(tls, host: url.host, port: url.port) } catch {
            return tlsFailed(error, &loop)
        }
        stage = .securing(transport, address)
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
            note("TLS: \(transport.tls?.description ?? "")", &loop)
            return handshake(transport, address, &loop)
        case .failed(.tls(let failure)): return tlsFailed(failure, &loop)
        case .end: reason = "the server closed the connection during the TLS handshake"
        case .failed(let fault): reason = "the connection broke during the TLS handshake: \(fault.words)"
        }
        return tlsFailed(TLSFailure(reason: reason, cause: .moment), &loop)
    }

    private func tlsFailed(_ failure: TLSFailure, _ loop: inout LoopContext) -> Progress {
        // Another attempt may find other files.
        loop.tlsContexts.forget(tlsOptions)
        let isPermanent =
            switch failure.cause {
            case .refusal: true
            case .options: !hasWorked
            case .moment: false
            }
        return failed(Failure(kind: "tls", reason: failure.reason, isPermanent: isPermanent))
    }

    private func note(_ line: @autoclosure () -> String, _ loop: inout LoopContext) {
        socket.debugLine(line(), &loop.records)
    }

    private func failed(_ failure: Failure) -> Progress {
        stage = .over
        return .failed(failure)
    }

    // MARK: - Readiness and time

    func ready(_ readiness: Poller.Readiness, _ loop: inout LoopContext) -> Progress {
        switch stage {
        case .connecting(let race): return raceAdvanced(race.ready(readiness.token, &loop), &loop)
        case .proxyExchange(let proxyExchange):
            return proxyExchange.transport.shouldHandle(readiness) ? proxyAdvanced(proxyExchange, &loop) : .pending
        case .securing(let transport, let address):
            guard transport.shouldHandle(readiness) else { return .pending }
            if readiness.isRequestedTurn { return tlsAdvanced(transport, address, &loop) }
            // A step takes a millisecond: where many open at once, each waits for its share of a turn.
            transport.requestAnotherTurn(&loop)
            return .pending
        case .exchange(let exchange):
            return exchange.transport.shouldHandle(readiness) ? handshakeAdvanced(exchange, &loop) : .pending
        case .preparing, .resolving, .over: return .pending
        }
    }

    func timeout(_ loop: inout LoopContext) -> Progress {
        guard loop.now >= limit else {
            switch stage {
            case .connecting(let race): return raceAdvanced(race.advance(&loop), &loop)
            case .exchange(let exchange):
                guard let bodyLimit = exchange.bodyLimit, loop.now >= bodyLimit else { return .pending }
                return refused(exchange)
            case .preparing, .resolving, .proxyExchange, .securing, .over: return .pending
            }
        }
        switch stage {
        case .preparing: return timedOut("the files of the option tls could not be read")
        case .resolving(let name, _):
            let host = name == .proxy ? "\(proxy?.host ?? "") of the proxy" : url.host
            return timedOut("the host \(host) could not be resolved")
        case .proxyExchange: return timedOut("the proxy \(proxy?.description ?? "") did not answer")
        case .connecting(let race):
            let whose = proxy.map { " of the proxy \($0.description)" } ?? ""
            return timedOut("no address\(whose) answered (\(race.summary))")
        case .securing: return timedOut("the server did not finish the TLS handshake")
        case .exchange(let exchange):
            return exchange.bodyLimit == nil
                ? timedOut("the server did not answer the handshake") : refused(exchange)
        case .over: return .pending
        }
    }

    private func timedOut(_ what: String) -> Progress {
        let seconds = "\(socket.options.connectTimeout)"
        return failed(Failure(kind: "timeout", reason: "\(what) within the connecttimeout of \(seconds) s"))
    }

    // MARK: - The opening handshake

    private func handshake(_ transport: Transport, _ address: Address, _ loop: inout LoopContext) -> Progress {
        guard let nonce = loop.random.words(4) else {
            return failed(Failure(kind: "system", reason: SystemError("getrandom").description))
        }
        let options = socket.options
        let handshake = ClientHandshake(
            url: url, headers: isOriginalOrigin ? options.headers : options.headers.withoutCredentials(),
            subprotocols: options.protocols, deflate: options.deflate?.parameters, nonce: nonce,
            userAgent: Self.userAgent)
        if options.debug {
            for line in redactedLines(ofRequest: handshake.request) { note("> \(line)", &loop) }
        }
        let exchange = HandshakeExchange(transport, address, handshake)
        stage = .exchange(exchange)
        return handshakeAdvanced(exchange, &loop)
    }

    private func handshakeAdvanced(_ exchange: HandshakeExchange, _ loop: inout LoopContext) -> Progress {
        let progress = exchange.advance(&loop)
        if case .pending = progress { return .pending }
        if socket.options.debug {
            for line in exchange.head?.redactedLines ?? [] { note("< \(line)", &loop) }
        }
        switch progress {
        case .pending: return .pending
        case .redirected(let head): return redirected(exchange, head, &loop)
        case .refused: return refused(exchange)
        case .broken(let words): return failed(Failure(kind: "handshake", reason: words))
        case .insecure(let failure): return tlsFailed(failure, &loop)
        case .unacceptable(let failure):
            return failed(
                Failure(kind: "handshake", reason: failure.reason, isPermanent: true, response: exchange.head))
        case .agreed(let agreement, let rest):
            stage = .over
            return opened(exchange, agreement, rest, &loop)
        }
    }

    // MARK: - Redirects

    /// RFC 9110 section 15.4: another attempt of the same request, at another place.
    private func redirected(_ exchange: HandshakeExchange, _ head: HTTPHead, _ loop: inout LoopContext) -> Progress {
        func refused(_ why: String) -> Progress {
            failed(Failure(kind: "handshake", reason: "\(exchange.refusal), \(why)", response: head))
        }
        guard redirects < socket.options.maxRedirects else {
            return refused("and maxredirects is \(socket.options.maxRedirects)")
        }
        guard let location = head.fields["Location"] else { return refused("without saying where to") }
        let target: WebSocketURL
        do throws(WebSocketURL.Failure) { target = try url.resolving(location) } catch {
            return refused("and leads to a bad URL: \(error.problem)")
        }
        guard target.isSecure || !url.isSecure else {
            return refused("and leads from TLS to \(target.redactedDescription), which has none")
        }
        note("redirected by \(url.redactedDescription) to \(target.redactedDescription)", &loop)
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

    private func refused(_ exchange: HandshakeExchange) -> Progress {
        failed(
            Failure(
                kind: "handshake", reason: exchange.refusal, isPermanent: Self.isPermanent(exchange.head?.status),
                response: exchange.head, body: exchange.body))
    }

    private func opened(
        _ exchange: HandshakeExchange, _ agreement: ClientHandshake.Agreement, _ rest: [UInt8],
        _ loop: inout LoopContext
    ) -> Progress {
        guard let key = loop.random.next() else {
            return failed(Failure(kind: "system", reason: SystemError("getrandom").description))
        }
        var info = EventInfo()
        info.add("protocol", agreement.subprotocol)
        info.add("extensions", agreement.extensions)
        if let head = exchange.head { info.add("headers", head.fields) }
        info.add("address", exchange.address.description)
        info.add("url", url.description)
        let channel = OpenConnection(
            socket, exchange.transport, agreement, rest, key: key, now: loop.now)
        return .open(channel, info)
    }
}
