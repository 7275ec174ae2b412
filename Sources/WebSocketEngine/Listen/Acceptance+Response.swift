// The last stage of Acceptance: writes the response, and then opens the connection, or waits until the peer has closed it.

import WebSocketProtocol

extension Acceptance {
    /// The script has answered.
    func answered(_ answer: ServerHandshake.Answer, _ loop: inout LoopContext) -> OpeningProgress {
        guard case .answer = stage else { return .pending }
        return respond(answer, &loop)
    }

    func refuse(_ refusal: RequestRefusal, _ loop: inout LoopContext) -> OpeningProgress {
        debugLine(refusal.reason, &loop)
        return respond(.response(refusal.response), &loop)
    }

    func respond(_ answer: ServerHandshake.Answer, _ loop: inout LoopContext) -> OpeningProgress {
        renewDeadline(loop.now)
        question?.end()
        stage = .response(answer)
        let head: HTTPHead
        let isAppended: Bool
        switch answer {
        case .open(let response, _):
            head = response
            isAppended = output.append(response.text)
        case .response(let response):
            head = response.head
            isAppended = response.append(to: &output, method: request?.method)
        }
        guard isAppended else { return end("no memory for the response", &loop) }
        if websocket.options.debug {
            for line in head.redactedLines { debugLine("< \(line)", &loop) }
        }
        return writeResponse(&loop)
    }

    func writeResponse(_ loop: inout LoopContext) -> OpeningProgress {
        guard case .response(let answer) = stage else { return .pending }
        var written = 0
        while !output.isEmpty {
            guard written < Self.bytesPerTurn else {
                transport.requestAnotherTurn(&loop)
                return .pending
            }
            switch transport.write(UnsafeRawBufferPointer(rebasing: output.bytes.prefix(Self.bytesPerTurn))) {
            case .bytes(let count):
                output.didRead(count)
                written += count
                renewDeadline(loop.now)
            case .wouldBlock:
                transport.setInterest(.write, loop.poller)
                return .pending
            case .end: return end("the client closed the connection before it had the response", &loop)
            case .failed(let fault): return end("the response could not be sent: \(fault.words)", &loop)
            }
        }
        output.removeAll(keepingAtMost: 0)
        switch answer {
        case .open(_, let agreement): return open(agreement, &loop)
        case .response: return linger(&loop)
        }
    }

    /// Bytes of a response that are written in one turn.
    private static var bytesPerTurn: Int { 1 << 20 }

    private func open(_ agreement: ServerHandshake.Agreement, _ loop: inout LoopContext) -> OpeningProgress {
        // After `Server.stoppedOpening` no OPEN may follow.
        guard server.state == .listening else { return end("the server is closed", &loop) }
        guard let key = loop.random.next() else { return end(SystemError("getrandom").description, &loop) }
        stage = .over
        var info = EventInfo()
        info.add("protocol", agreement.subprotocol)
        info.add("extensions", agreement.extensions)
        info.add("address", address)
        info.add("url", request?.url(isSecure: server.options.isSecure))
        if question == nil { info.addTable("request") { addRequest(to: &$0) } }
        let connection = OpenConnection(websocket, transport, agreement, early, key: key, now: loop.now)
        return .open(connection, info)
    }

    /// The peer gets the end of our side behind the response. If the socket were closed with bytes unread, the response could
    /// be lost (RFC 9112 section 9.6).
    private func linger(_ loop: inout LoopContext) -> OpeningProgress {
        let close = LingeringClose(transport, closesNow: true, &loop)
        deadline = close.deadline
        stage = .lingering(close)
        return close.isOver(&loop) ? end("closed", &loop) : .pending
    }
}
