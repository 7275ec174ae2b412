// The TLS stages of ConnectAttempt: its context before the socket is connected, the TLS handshake behind it.

import WebSocketProtocol

extension ConnectAttempt {
    var tlsOptions: Options.TLS {
        isOriginalOrigin ? options.tls : options.tls.withoutIdentity
    }

    func makeTLSContext(_ loop: inout LoopContext) -> Progress {
        let token = loop.poller.token(slot: slot)
        stage = .tlsContext(token)
        guard let context = loop.tlsContexts.context(tlsOptions, token, loop.commandQueue) else { return .pending }
        tls = context
        return findAddress(&loop)
    }

    /// - Parameter token: as for `lookupFinished`.
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

    /// The socket is connected to the server, through the proxy if there is one.
    func startTLS(_ transport: Transport, _ address: Address, _ loop: inout LoopContext) -> Progress {
        guard let tls else { return startHandshake(transport, address, &loop) }
        do throws(TLSFailure) { try transport.startTLS(tls, host: url.host, port: url.port) } catch {
            return tlsFailed(error, &loop)
        }
        stage = .tlsHandshake(transport, address)
        return tlsAdvanced(transport, address, &loop)
    }

    func tlsAdvanced(_ transport: Transport, _ address: Address, _ loop: inout LoopContext) -> Progress {
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

    func tlsFailed(_ failure: TLSFailure, _ loop: inout LoopContext) -> Progress {
        let isPermanent =
            switch failure.cause {
            case .permanent: true
            case .options: !hasWorked
            case .temporary: false
            }
        return fail(Failure(kind: "tls", reason: failure.reason, isPermanent: isPermanent))
    }
}
