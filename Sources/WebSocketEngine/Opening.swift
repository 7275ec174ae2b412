// One attempt to open a connection: the name, the race of its addresses, a proxy's tunnel, TLS, the handshake,
// and all of it again where a redirect leads. Ends as an open channel or as a failure in words; Session decides
// what follows.

import WebSocketProtocol

final class Opening {
    enum Progress {
        case pending
        case open(Channel, Info)
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
        case tunnelling(Tunnelling)
        case securing(Transport, Address)
        case handshaking(Handshaking)
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
        case .handshaking(let handshaking): min(limit, handshaking.bodyLimit ?? limit)
        case .preparing, .resolving, .tunnelling, .securing, .over: limit
        }
    }

    // MARK: - From the URL to the connected socket

    func start(_ reactor: inout Reactor) -> Progress {
        do throws(Proxy.Failure) { proxy = try socket.options.proxy(for: url) } catch {
            return failed(Failure(kind: "proxy", reason: error.reason))
        }
        tls = nil
        guard url.isSecure else { return locate(&reactor) }
        let token = reactor.poller.token(slot: slot)
        stage = .preparing(token)
        guard let context = reactor.contexts.context(tlsOptions, token, reactor.mailbox) else { return .pending }
        tls = context
        return locate(&reactor)
    }

    /// Whether it still leads to where the script wanted: what it gave for there goes nowhere else.
    private var isHome: Bool { socket.options.url.map { url.isSameOrigin(as: $0) } ?? true }

    private var tlsOptions: Options.TLS { isHome ? socket.options.tls : socket.options.tls.abroad }

    func prepared(
        _ token: Poller.Token, _ result: Result<TLSContext, TLSFailure>, _ reactor: inout Reactor
    ) -> Progress {
        guard case .preparing(token) = stage else { return .pending }
        switch result {
        case .success(let context):
            tls = context
            return locate(&reactor)
        case .failure(let failure): return tlsFailed(failure, &reactor)
        }
    }

    /// Finds the address to connect to.
    private func locate(_ reactor: inout Reactor) -> Progress {
        if let path = url.socketPath {
            guard let address = Address(path: path) else {
                return failed(Failure(kind: "url", reason: "the path \(path) is too long", isPermanent: true))
            }
            return race([address], &reactor)
        }
        destination = url.host
        guard let proxy, proxy.kind != .socks5 else { return resolve(.server, &reactor) }
        return resolve(.proxy, &reactor)
    }

    private func resolve(_ name: Name, _ reactor: inout Reactor) -> Progress {
        let token = reactor.poller.token(slot: slot)
        stage = .resolving(name, token)
        let (host, port) = name == .proxy ? (proxy?.host ?? "", proxy?.port ?? 0) : (url.host, url.port)
        guard let answer = Resolver.resolve(HostAndPort(host: host, port: port), token, &reactor) else {
            return .pending
        }
        return resolved(token, answer, &reactor)
    }

    func resolved(_ token: Poller.Token, _ resolution: Resolution, _ reactor: inout Reactor) -> Progress {
        guard case .resolving(let name, token) = stage else { return .pending }
        switch resolution {
        case .failed(let words):
            return name == .proxy
                ? proxyFailed("its host can't be resolved: \(words)")
                : failed(Failure(kind: "dns", reason: "can't resolve the host \(url.host): \(words)"))
        case .addresses(let addresses):
            // For socks5 the name is resolved here, and the proxy gets its address.
            guard name == .server, proxy != nil else { return race(addresses, &reactor) }
            destination = addresses.first?.host ?? url.host
            return resolve(.proxy, &reactor)
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

    private func race(_ addresses: [Address], _ reactor: inout Reactor) -> Progress {
        note("connecting to \(addresses.map(\.description).joined(separator: ", "))", &reactor)
        let race = ConnectRace(addresses, slot: slot)
        stage = .connecting(race)
        return raced(race.advance(&reactor), &reactor)
    }

    private func raced(_ progress: ConnectRace.Progress, _ reactor: inout Reactor) -> Progress {
        switch progress {
        case .pending: return .pending
        case .failed(let words):
            return proxy == nil
                ? failed(Failure(kind: "connect", reason: words)) : proxyFailed("can't connect to \(words)")
        case .connected(let transport, let address):
            note("connected to \(address.description)", &reactor)
            return connected(transport, address, &reactor)
        }
    }

    private func connected(_ transport: Transport, _ address: Address, _ reactor: inout Reactor) -> Progress {
        guard let proxy else { return secure(transport, address, &reactor) }
        do throws(TunnelFailure) {
            let tunnel = try Tunnel(proxy, to: destination, port: url.port, userAgent: Self.userAgent)
            let tunnelling = Tunnelling(transport, address, tunnel)
            stage = .tunnelling(tunnelling)
            return tunnelled(tunnelling, &reactor)
        } catch {
            return proxyFailed(error.reason, error)
        }
    }

    private func tunnelled(_ tunnelling: Tunnelling, _ reactor: inout Reactor) -> Progress {
        switch tunnelling.advance(&reactor) {
        case .pending: return .pending
        case .refused(let failure): return proxyFailed(failure.reason, failure)
        case .broken(let words): return proxyFailed(words)
        case .established:
            note("the proxy \(proxy?.description ?? "") connected to \(destination):\(url.port)", &reactor)
            return secure(tunnelling.transport, tunnelling.address, &reactor)
        }
    }

    // MARK: - TLS

    private func secure(_ transport: Transport, _ address: Address, _ reactor: inout Reactor) -> Progress {
        guard let tls else { return handshake(transport, address, &reactor) }
        do throws(TLSFailure) { try transport.secure(tls, host: url.host, port: url.port) } catch {
            return tlsFailed(error, &reactor)
        }
        stage = .securing(transport, address)
        return secured(transport, address, &reactor)
    }

    private func secured(_ transport: Transport, _ address: Address, _ reactor: inout Reactor) -> Progress {
        let reason: String
        switch transport.shakeHands() {
        case .wouldBlock:
            transport.watch(.read, reactor.poller)
            transport.readLater(&reactor)
            return .pending
        case .bytes:
            note("TLS: \(transport.tls?.description ?? "")", &reactor)
            return handshake(transport, address, &reactor)
        case .failed(.tls(let failure)): return tlsFailed(failure, &reactor)
        case .end: reason = "the server closed the connection during the TLS handshake"
        case .failed(let fault): reason = "the connection broke during the TLS handshake: \(fault.words)"
        }
        return tlsFailed(TLSFailure(reason: reason, cause: .moment), &reactor)
    }

    private func tlsFailed(_ failure: TLSFailure, _ reactor: inout Reactor) -> Progress {
        // Another attempt may find other files.
        reactor.contexts.forget(tlsOptions)
        let isPermanent =
            switch failure.cause {
            case .refusal: true
            case .options: !hasWorked
            case .moment: false
            }
        return failed(Failure(kind: "tls", reason: failure.reason, isPermanent: isPermanent))
    }

    private func note(_ line: @autoclosure () -> String, _ reactor: inout Reactor) {
        socket.note(line(), &reactor.log)
    }

    private func failed(_ failure: Failure) -> Progress {
        stage = .over
        return .failed(failure)
    }

    // MARK: - Readiness and time

    func ready(_ readiness: Poller.Readiness, _ reactor: inout Reactor) -> Progress {
        switch stage {
        case .connecting(let race): return raced(race.ready(readiness.token, &reactor), &reactor)
        case .tunnelling(let tunnelling):
            return tunnelling.transport.heeds(readiness) ? tunnelled(tunnelling, &reactor) : .pending
        case .securing(let transport, let address):
            guard transport.heeds(readiness) else { return .pending }
            if readiness.isPromised { return secured(transport, address, &reactor) }
            // A step takes a millisecond: where many open at once, each waits for its share of a turn.
            transport.goOn(&reactor)
            return .pending
        case .handshaking(let handshaking):
            return handshaking.transport.heeds(readiness) ? shaken(handshaking, &reactor) : .pending
        case .preparing, .resolving, .over: return .pending
        }
    }

    func timeout(_ reactor: inout Reactor) -> Progress {
        guard reactor.now >= limit else {
            switch stage {
            case .connecting(let race): return raced(race.advance(&reactor), &reactor)
            case .handshaking(let handshaking):
                guard let bodyLimit = handshaking.bodyLimit, reactor.now >= bodyLimit else { return .pending }
                return refused(handshaking)
            case .preparing, .resolving, .tunnelling, .securing, .over: return .pending
            }
        }
        switch stage {
        case .preparing: return timedOut("the files of the option tls could not be read")
        case .resolving(let name, _):
            let host = name == .proxy ? "\(proxy?.host ?? "") of the proxy" : url.host
            return timedOut("the host \(host) could not be resolved")
        case .tunnelling: return timedOut("the proxy \(proxy?.description ?? "") did not answer")
        case .connecting(let race):
            let whose = proxy.map { " of the proxy \($0.description)" } ?? ""
            return timedOut("no address\(whose) answered (\(race.summary))")
        case .securing: return timedOut("the server did not finish the TLS handshake")
        case .handshaking(let handshaking):
            return handshaking.bodyLimit == nil
                ? timedOut("the server did not answer the handshake") : refused(handshaking)
        case .over: return .pending
        }
    }

    private func timedOut(_ what: String) -> Progress {
        let seconds = "\(socket.options.connectTimeout)"
        return failed(Failure(kind: "timeout", reason: "\(what) within the connecttimeout of \(seconds) s"))
    }

    // MARK: - The opening handshake

    private func handshake(_ transport: Transport, _ address: Address, _ reactor: inout Reactor) -> Progress {
        guard let nonce = reactor.random.words(4) else {
            return failed(Failure(kind: "system", reason: SystemError("getrandom").description))
        }
        let options = socket.options
        let handshake = ClientHandshake(
            url: url, headers: isHome ? options.headers : options.headers.withoutCredentials(),
            subprotocols: options.protocols, deflate: options.deflate?.parameters, nonce: nonce,
            userAgent: Self.userAgent)
        if options.debug {
            for line in redactedLines(ofRequest: handshake.request) { note("> \(line)", &reactor) }
        }
        let handshaking = Handshaking(transport, address, handshake)
        stage = .handshaking(handshaking)
        return shaken(handshaking, &reactor)
    }

    private func shaken(_ handshaking: Handshaking, _ reactor: inout Reactor) -> Progress {
        let progress = handshaking.advance(&reactor)
        if case .pending = progress { return .pending }
        if socket.options.debug {
            for line in handshaking.head?.redactedLines ?? [] { note("< \(line)", &reactor) }
        }
        switch progress {
        case .pending: return .pending
        case .redirected(let head): return redirected(handshaking, head, &reactor)
        case .refused: return refused(handshaking)
        case .broken(let words): return failed(Failure(kind: "handshake", reason: words))
        case .insecure(let failure): return tlsFailed(failure, &reactor)
        case .unacceptable(let failure):
            return failed(
                Failure(kind: "handshake", reason: failure.reason, isPermanent: true, response: handshaking.head))
        case .agreed(let agreement, let rest):
            stage = .over
            return opened(handshaking, agreement, rest, &reactor)
        }
    }

    // MARK: - Redirects

    /// RFC 9110 section 15.4: another attempt of the same request, at another place.
    private func redirected(_ handshaking: Handshaking, _ head: HTTPHead, _ reactor: inout Reactor) -> Progress {
        func refused(_ why: String) -> Progress {
            failed(Failure(kind: "handshake", reason: "\(handshaking.refusal), \(why)", response: head))
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
        note("redirected by \(url.redactedDescription) to \(target.redactedDescription)", &reactor)
        redirects += 1
        url = target
        return start(&reactor)
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

    private func refused(_ handshaking: Handshaking) -> Progress {
        failed(
            Failure(
                kind: "handshake", reason: handshaking.refusal, isPermanent: Self.isPermanent(handshaking.head?.status),
                response: handshaking.head, body: handshaking.body))
    }

    private func opened(
        _ handshaking: Handshaking, _ agreement: ClientHandshake.Agreement, _ rest: [UInt8], _ reactor: inout Reactor
    ) -> Progress {
        guard let key = reactor.random.next() else {
            return failed(Failure(kind: "system", reason: SystemError("getrandom").description))
        }
        var info = Info()
        info.add("protocol", agreement.subprotocol)
        info.add("extensions", agreement.extensions)
        if let head = handshaking.head { info.add("headers", head.fields) }
        info.add("address", handshaking.address.description)
        info.add("url", url.description)
        let channel = Channel(
            socket, handshaking.transport, agreement, rest, key: key, now: reactor.now)
        return .open(channel, info)
    }
}
