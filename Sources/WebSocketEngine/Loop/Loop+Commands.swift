// What the loop does with commands. One that concerns many sessions becomes one for each, so that none of them takes more
// than its share of a turn.

import Dispatch
import WebSocketProtocol

extension Loop {
    /// Obeys commands, as far as the time goes. Returns whether there was anything to do.
    mutating func execute() -> Bool {
        loop.now = WebSocketEngine.now()
        if commands.isEmpty { loop.commandQueue.take(&commands) }
        guard obeyed < commands.count else { return false }
        var share = Share()
        repeat {
            let command = commands[obeyed]
            obeyed += 1
            execute(command)
        } while obeyed < commands.count && !share.isSpent()
        if obeyed == commands.count {
            commands.removeAll(keepingCapacity: true)
            obeyed = 0
        }
        return true
    }

    private mutating func execute(_ command: Command) {
        switch command {
        case .connect(let socket): connect(socket)
        case .close(let socket, let frame):
            socket.sendQueue.withLock { $0.callArrived() }
            withSession(of: socket) { $0.close(frame, &$1) }
        case .flush(let socket): withSession(of: socket) { $0.flush(&$1) }
        case .resume(let socket): withSession(of: socket) { $0.resume(&$1) }
        case .refuse(let socket, let bytes, let number):
            withSession(of: socket) { $0.refuse(bytes, connection: number, &$1) }
        case .drop(let queue): each({ $0.queue === queue }) { .dropSession($0) }
        case .dropSession(let socket): withSession(of: socket) { $0.drop(&$1) }
        case .leave(let done):
            left = done
            loop.isLeaving = true
            each({ _ in true }) { .leaveSession($0) }
            if slots.isEmpty { done.signal() }
        case .leaveSession(let socket): withSession(of: socket) { $0.leave(&$1) }
        case .halt(let halted):
            dropAll()
            halted.signal()
        case .resolved(let name, let resolution):
            commands += loop.lookups.remove(name).map { .answer($0, resolution) }
        case .answer(let token, let resolution):
            with(Poller.slot(of: token)) { $0.resolved(token, resolution, &$1) }
        case .prepared(let options, let result):
            commands += loop.contexts.prepared(options, result).map { .context($0, result) }
        case .context(let token, let result):
            with(Poller.slot(of: token)) { $0.prepared(token, result, &$1) }
        }
    }

    private mutating func connect(_ socket: WebSocket) {
        socket.sendQueue.withLock { $0.callArrived() }
        // Nothing begins any more that would have to be ended.
        guard !loop.isLeaving else { return _ = socket.queue.ended(socket) }
        with(slot(of: socket)) { $0.connect(&$1) }
    }

    private mutating func withSession(of socket: WebSocket, _ body: (Session, inout LoopContext) -> Void) {
        guard let slot = slots[ObjectIdentifier(socket)] else { return }
        with(slot, body)
    }

    private mutating func each(_ isMeant: (WebSocket) -> Bool, _ command: (WebSocket) -> Command) {
        for case let session? in sessions where isMeant(session.socket) { commands.append(command(session.socket)) }
    }
}
