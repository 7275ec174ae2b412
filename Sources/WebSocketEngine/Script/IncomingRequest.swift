// A request that waits for the answer of the script's function onrequest. Made by Acceptance on the thread that runs the loop;
// Lua's thread takes it from the EventQueue with its record, answers it, and releases it.

import Synchronization
public import WebSocketProtocol

public final class IncomingRequest: Sendable {
    let websocket: WebSocket
    let server: Server
    private let demand: ServerHandshake.Demand
    private let isOver = Atomic(false)

    init(_ websocket: WebSocket, _ server: Server, _ demand: ServerHandshake.Demand) {
        self.websocket = websocket
        self.server = server
        self.demand = demand
    }

    /// The id of its websocket, which OPEN will have, too.
    public var id: UInt32 { websocket.id }
    public var serverID: UInt32 { server.id }

    var isForWebSocket: Bool {
        switch demand {
        case .webSocket: true
        case .other: false
        }
    }

    /// Whether the client waits no longer.
    public var hasEnded: Bool { isOver.load(ordering: .acquiring) }

    /// On the loop: the client waits no longer.
    func end() { isOver.store(true, ordering: .releasing) }

    /// Sends the answer. If the client does not wait for it any more, nothing happens.
    /// - Throws: if the decision can't be sent; then nothing is sent.
    public func answer(_ decision: ServerHandshake.Decision) throws(AnswerFailure) {
        let answer = try server.handshake.answer(demand, decision)
        Engine.withCurrent { $0.post(.answerRequest(websocket, answer)) }
    }

    /// The script has no answer: it has raised an error, or dropped the request.
    public func fail() {
        Engine.withCurrent { $0.post(.answerRequest(websocket, .response(RequestRefusal.noAnswer.response))) }
    }
}
