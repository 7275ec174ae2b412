// The opening of one accepted connection: the TLS handshake, the request, the question to the script, the response, in this
// order (RFC 6455 section 4.2). It ends with an open connection, or after a response that opens none. Session owns it; all calls
// are on the thread that runs the loop.
//
// This file has the stages and the deadlines; +Response has the answer.

import CEvents
import WebSocketProtocol

final class Acceptance: Opening {
    /// What it waits for.
    enum Stage {
        /// A thread reads the files of the option `tls`.
        case tlsContext(Poller.Token)
        case tlsHandshake
        case request
        /// The script has the request (option `onrequest`).
        case answer
        /// The socket takes the response, which leads to an open connection or to none.
        case response(ServerHandshake.Answer)
        /// The peer has the response, and closes.
        case lingering(LingeringClose)
        case over
    }

    let websocket: WebSocket
    let server: Server
    let transport: Transport
    let slot: Int
    /// Of the peer; for a Unix socket that of the server.
    let address: String
    var stage = Stage.over
    /// When the stage is given up (`connecttimeout`).
    var deadline: Nanoseconds
    private var reader = HTTPRequestReader()
    /// Once its head is whole.
    private(set) var request: HTTPRequest?
    /// Bytes behind the head of the request: the client's first frames.
    var early: [UInt8] = []
    /// What is still to be written of the response.
    var output = ByteBuffer()
    /// The script's request, if it was asked: it must be told if the connection does not open.
    private(set) var question: IncomingRequest?

    init(
        _ websocket: WebSocket, _ server: Server, _ transport: Transport, _ address: String, slot: Int, now: Nanoseconds
    ) {
        self.websocket = websocket
        self.server = server
        self.transport = transport
        self.address = address
        self.slot = slot
        deadline = now
        renewDeadline(now)
    }

    var peer: String { "from \(address)" }

    func renewDeadline(_ now: Nanoseconds) {
        deadline = now + Nanoseconds(seconds: websocket.options.connectTimeout)
    }

    func debugLine(_ line: @autoclosure () -> String, _ loop: inout LoopContext) {
        server.debugLine("\(address): \(line())", &loop.records)
    }

    func begin(_ loop: inout LoopContext) -> OpeningProgress {
        debugLine("accepted", &loop)
        guard server.options.isSecure else {
            stage = .request
            return .pending
        }
        let token = loop.poller.token(slot: slot)
        stage = .tlsContext(token)
        guard let context = loop.tlsContexts.context(websocket.options.tls, token, loop.commandQueue) else {
            return .pending
        }
        return startTLS(context, &loop)
    }

    func cancel(_ loop: inout LoopContext) { _ = end("the server is closed", &loop) }

    /// It ends without an open connection.
    func end(_ words: String, _ loop: inout LoopContext) -> OpeningProgress {
        if case .tlsContext(let token) = stage { loop.tlsContexts.cancel(websocket.options.tls, token) }
        stage = .over
        debugLine(words, &loop)
        if let question {
            question.end()
            server.queue.requestEnded(websocket.id, &loop.records)
        }
        question = nil
        return .failed(OpeningFailure(kind: "handshake", reason: words))
    }

    // MARK: - TLS

    func tlsContextFinished(
        _ token: Poller.Token, _ result: Result<TLSContext, TLSFailure>, _ loop: inout LoopContext
    ) -> OpeningProgress {
        guard case .tlsContext(token) = stage else { return .pending }
        switch result {
        case .success(let context): return startTLS(context, &loop)
        case .failure(let failure): return end(failure.reason, &loop)
        }
    }

    private func startTLS(_ context: TLSContext, _ loop: inout LoopContext) -> OpeningProgress {
        do throws(TLSFailure) { try transport.startTLS(accepting: context) } catch { return end(error.reason, &loop) }
        stage = .tlsHandshake
        // The ClientHello may have come already, and its event is gone.
        transport.requestAnotherTurn(&loop)
        return .pending
    }

    private func continueTLS(_ loop: inout LoopContext) -> OpeningProgress {
        switch transport.continueTLSHandshake() {
        case .wouldBlock:
            transport.setInterest(.read, loop.poller)
            transport.requestTurnIfPending(&loop)
            return .pending
        case .bytes:
            debugLine("TLS: \(transport.tls?.description ?? "")", &loop)
            stage = .request
            return readRequest(&loop)
        case .end: return end("the client closed the connection during the TLS handshake", &loop)
        case .failed(let fault): return end(fault.words, &loop)
        }
    }

    // MARK: - The request

    private func readRequest(_ loop: inout LoopContext) -> OpeningProgress {
        for _ in 0..<Transport.maxReadsPerTurn {
            switch transport.read(into: loop.readBuffer) {
            case .wouldBlock:
                transport.setInterest(.read, loop.poller)
                transport.requestTurnIfPending(&loop)
                return .pending
            case .end: return end("the client closed the connection before its request was whole", &loop)
            case .failed(let fault): return end("the connection broke: \(fault.words)", &loop)
            case .bytes(let count):
                let input = UnsafeRawBufferPointer(rebasing: loop.readBuffer[..<count])
                do throws(RequestRefusal) {
                    guard let (request, consumed) = try reader.read(input) else { continue }
                    if !request.hasBody { early = Array(input[consumed...]) }
                    return try received(request, &loop)
                } catch {
                    return refuse(error, &loop)
                }
            }
        }
        transport.requestAnotherTurn(&loop)
        return .pending
    }

    private func received(
        _ request: HTTPRequest, _ loop: inout LoopContext
    ) throws(RequestRefusal) -> OpeningProgress {
        guard server.state == .listening else { return end("the server is closed", &loop) }
        self.request = request
        if websocket.options.debug {
            for line in request.head.redactedLines { debugLine("> \(line)", &loop) }
        }
        let demand = try server.handshake.examine(request)
        guard server.options.asksRequests else {
            do throws(AnswerFailure) { return respond(try server.handshake.answer(demand, .proceed), &loop) } catch {
                throw .noAnswer
            }
        }
        stage = .answer
        renewDeadline(loop.now)
        var info = EventInfo()
        addRequest(to: &info)
        let question = IncomingRequest(websocket, server, demand)
        self.question = question
        server.queue.ask(question, info, &loop.records)
        return .pending
    }

    /// The fields of the script's request.
    func addRequest(to info: inout EventInfo) {
        guard let request else { return }
        info.add("method", request.method)
        info.add("target", request.target)
        info.add("path", request.path)
        info.add("query", request.query)
        info.add("headers", request.fields)
        info.add("protocols", request.subprotocols)
        info.add("origin", request.origin)
        info.add("address", address)
        info.add("secure", server.options.isSecure)
    }

    // MARK: - Readiness and time

    func ready(_ readiness: Poller.Readiness, _ loop: inout LoopContext) -> OpeningProgress {
        let progress = proceed(readiness, &loop)
        // The client's end may come together with its request.
        guard case .pending = progress, case .answer = stage, readiness.endsOrStops, isClientGone else {
            return progress
        }
        return end("the client closed the connection before onrequest had answered", &loop)
    }

    /// Bytes behind the request are left in the socket until it is answered.
    private var isClientGone: Bool {
        switch transport.peerStatus {
        case .connected: false
        // A client may end its side behind the request for a page, and still wait for the response.
        case .hasStoppedSending: question?.isForWebSocket ?? false
        case .gone: true
        }
    }

    private func proceed(_ readiness: Poller.Readiness, _ loop: inout LoopContext) -> OpeningProgress {
        switch stage {
        case .lingering(let close): return close.ready(readiness, &loop) ? end("closed", &loop) : .pending
        case .tlsContext, .answer, .over: return .pending
        case .request: return transport.shouldHandle(readiness) ? readRequest(&loop) : .pending
        case .response: return transport.shouldHandle(readiness) ? writeResponse(&loop) : .pending
        case .tlsHandshake:
            guard transport.shouldHandle(readiness) else { return .pending }
            if readiness.isRequestedTurn { return continueTLS(&loop) }
            // A step takes a millisecond: if many connections are ready at once, each takes its step in a turn of its own.
            transport.requestAnotherTurn(&loop)
            return .pending
        }
    }

    func timeout(_ loop: inout LoopContext) -> OpeningProgress {
        guard deadline <= loop.now else { return .pending }
        let seconds = "within the connecttimeout of \(websocket.options.connectTimeout) s"
        switch stage {
        case .over: return .pending
        case .tlsContext: return end("the files of the option tls could not be read \(seconds)", &loop)
        case .tlsHandshake: return end("the client did not finish the TLS handshake \(seconds)", &loop)
        case .request: return refuse(.timeout("the request was not whole \(seconds)"), &loop)
        case .answer: return refuse(.unanswered("onrequest gave no answer \(seconds)"), &loop)
        case .response: return end("the client did not take the response \(seconds)", &loop)
        case .lingering: return end("closed", &loop)
        }
    }
}
