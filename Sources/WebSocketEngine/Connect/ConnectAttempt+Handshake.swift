// The last stage of ConnectAttempt: the opening handshake (RFC 6455 section 4.1), redirects and refusals.

import WebSocketProtocol

extension ConnectAttempt {
    func startHandshake(_ transport: Transport, _ address: Address, _ loop: inout LoopContext) -> Progress {
        guard let nonce = loop.random.words(4) else { return noRandomness() }
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

    private func noRandomness() -> Progress {
        fail(Failure(kind: "system", reason: SystemError("getrandom").description))
    }

    func handshakeAdvanced(_ exchange: HandshakeExchange, _ loop: inout LoopContext) -> Progress {
        let progress = exchange.advance(&loop)
        if case .pending = progress { return .pending }
        if options.debug {
            for line in exchange.head?.redactedLines ?? [] { debugLine("< \(line)", &loop) }
        }
        switch progress {
        case .pending: return .pending
        case .redirected(let head, let reason): return followRedirect(head, reason, &loop)
        case .refused(let refusal): return handshakeRefused(refusal)
        case .connectionLost(let words): return fail(Failure(kind: "handshake", reason: words))
        case .tlsFailed(let failure): return tlsFailed(failure, &loop)
        case .invalidResponse(let failure):
            return fail(
                Failure(kind: "handshake", reason: failure.reason, isPermanent: true, response: exchange.head))
        case .completed(let agreement, let rest): return handshakeCompleted(exchange, agreement, rest, &loop)
        }
    }

    /// The same request to another place (RFC 9110 section 15.4).
    private func followRedirect(_ head: HTTPHead, _ reason: String, _ loop: inout LoopContext) -> Progress {
        func refused(_ why: String) -> Progress {
            fail(Failure(kind: "handshake", reason: "\(reason), \(why)", response: head))
        }
        guard redirects < options.maxRedirects else {
            return refused("and maxredirects is \(options.maxRedirects)")
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

    func handshakeRefused(_ refusal: HandshakeExchange.Refusal) -> Progress {
        fail(
            Failure(
                kind: "handshake", reason: refusal.reason, isPermanent: Self.isPermanent(status: refusal.head.status),
                response: refusal.head, body: refusal.body))
    }

    /// Statuses, of a server or a proxy, that another attempt would get again; 2xx: no WebSocket server answers so.
    static func isPermanent(status: Int?) -> Bool {
        switch status {
        case 400, 401, 403, 404, 405, 407, 410, 426: true
        case let status?: (200...299).contains(status)
        case nil: false
        }
    }

    private func handshakeCompleted(
        _ exchange: HandshakeExchange, _ agreement: ClientHandshake.Agreement, _ rest: [UInt8],
        _ loop: inout LoopContext
    ) -> Progress {
        guard let key = loop.random.next() else { return noRandomness() }
        stage = .over
        var info = EventInfo()
        info.add("protocol", agreement.subprotocol)
        info.add("extensions", agreement.extensions)
        if let head = exchange.head { info.add("headers", head.fields) }
        info.add("address", exchange.address.description)
        info.add("url", url.description)
        let connection = OpenConnection(websocket, exchange.transport, agreement, rest, key: key, now: loop.now)
        return .open(connection, info)
    }
}
