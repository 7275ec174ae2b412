// The first stage of ConnectAttempt: the question to the script, if the websocket has the option `onattempt`. Nothing is
// opened before the answer. Lua's thread gets the question as an event record, and its answer comes to the loop as a command.

import WebSocketProtocol

extension ConnectAttempt {
    func begin(_ loop: inout LoopContext) -> Progress {
        guard options.asksBeforeAttempt else { return connect(&loop) }
        debugLine("attempt \(number): onattempt is asked", &loop)
        stage = .question(websocket.ask(number, &loop.records))
        return .pending
    }

    private func connect(_ loop: inout LoopContext) -> Progress {
        debugLine("attempt \(number) at \(url.redactedDescription)", &loop)
        return start(&loop)
    }

    /// - Parameter question: its number; the answer to an earlier one is ignored.
    func answered(_ question: UInt32, _ answer: AttemptAnswer, _ loop: inout LoopContext) -> Progress {
        guard case .question(question) = stage else { return .pending }
        websocket.questionEnded()
        switch answer {
        case .go: break
        case .goWith(let options):
            self.options = options
            url = options.url ?? url
        case .failed(let reason): return fail(Failure(kind: "system", reason: "onattempt failed: \(reason)"))
        }
        renewDeadline(loop.now)
        return connect(&loop)
    }
}
