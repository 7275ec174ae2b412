// How the loop executes commands, on the thread that runs it. A command for many sessions is replaced by one for each, so that
// no command takes more than its time slice.

import Dispatch
import WebSocketProtocol

extension Loop {
    /// Executes commands within a time slice. Returns false if there were none.
    mutating func execute() -> Bool {
        context.now = WebSocketEngine.now()
        if commands.isEmpty { context.commandQueue.drain(into: &commands) }
        guard executedCommands < commands.count else { return false }
        var slice = TimeSlice()
        repeat {
            let command = commands[executedCommands]
            executedCommands += 1
            execute(command)
        } while executedCommands < commands.count && !slice.isUsedUp()
        if executedCommands == commands.count {
            commands.removeAll(keepingCapacity: true)
            executedCommands = 0
        }
        return true
    }

    private mutating func execute(_ command: Command) {
        switch command {
        case .connect(let websocket): connect(websocket)
        case .close(let websocket, let frame):
            websocket.sendQueue.withLock { $0.callHandled() }
            withSession(of: websocket) { $0.close(frame, &$1) }
        case .flush(let websocket): withSession(of: websocket) { $0.flush(&$1) }
        case .answer(let websocket, let question, let answer):
            withSession(of: websocket) { $0.answered(question, answer, &$1) }
        case .resume(let websocket): withSession(of: websocket) { $0.resume(&$1) }
        case .refuse(let websocket, let bytes, let number):
            withSession(of: websocket) { $0.refuse(bytes, connection: number, &$1) }
        case .listen(let server): listen(server)
        case .closeServer(let server, let frame): close(server, frame)
        case .closeSession(let websocket, let frame): withSession(of: websocket) { $0.close(frame, &$1) }
        case .answerRequest(let websocket, let answer): withSession(of: websocket) { $0.answered(answer, &$1) }
        case .dropSessions(let queue): appendCommands(forSessions: { $0.queue === queue }) { .dropSession($0) }
        case .dropSession(let websocket): withSession(of: websocket) { $0.drop(&$1) }
        case .shutDown(let done):
            shutdownSignal = done
            context.isShuttingDown = true
            stopListening()
            appendCommands(forSessions: { _ in true }) { .shutDownSession($0) }
            if slots.isEmpty { done.signal() }
        case .shutDownSession(let websocket): withSession(of: websocket) { $0.leave(&$1) }
        case .stopLoop(let stopped):
            dropAll()
            stopped.signal()
        case .lookupFinished(let name, let resolution):
            commands += context.resolver.finished(name, context.commandQueue).map { .lookupResult($0, resolution) }
        case .lookupResult(let token, let resolution):
            withSession(at: Poller.slot(of: token)) { $0.lookupFinished(token, resolution, &$1) }
        case .tlsContextMade(let options, let result):
            let tokens = context.tlsContexts.finished(options, result, context.commandQueue)
            commands += tokens.map { .tlsContextResult($0, result) }
        case .tlsContextResult(let token, let result):
            withSession(at: Poller.slot(of: token)) { $0.tlsContextFinished(token, result, &$1) }
        }
    }

    private mutating func connect(_ websocket: WebSocket) {
        websocket.sendQueue.withLock { $0.callHandled() }
        // At the end of the process no connection is started. Without an event: the script does not poll any more.
        guard !context.isShuttingDown else { return _ = websocket.queue.websocketEnded(websocket) }
        withSession(at: slot(of: websocket)) { $0.connect(&$1) }
    }

    private mutating func withSession(of websocket: WebSocket, _ body: (Session, inout LoopContext) -> Void) {
        guard let slot = slots[ObjectIdentifier(websocket)] else { return }
        withSession(at: slot, body)
    }

    mutating func appendCommands(forSessions isMeant: (WebSocket) -> Bool, _ command: (WebSocket) -> Command) {
        for case let session? in sessions where isMeant(session.websocket) {
            commands.append(command(session.websocket))
        }
    }
}
