// How a session comes to its open connection: begins the opening, and acts on its result. Called by Session, on the thread that
// runs the loop.

import CEvents
import WebSocketProtocol

extension Session {
    func startAttempt(_ loop: inout LoopContext) {
        guard let url = websocket.options.url else { return }
        websocket.setState(.connecting)
        websocket.setAttempts(reconnectState.attempts)
        let attempt = ConnectAttempt(
            websocket, url, number: reconnectState.attempts, slot: slot, hasWorked: websocket.hasOpened, now: loop.now)
        opening = attempt
        openingProgressed(attempt.begin(&loop), &loop)
    }

    /// Begins the opening of an accepted connection.
    func begin(_ loop: inout LoopContext) {
        guard let acceptance = opening as? Acceptance else { return }
        openingProgressed(acceptance.begin(&loop), &loop)
    }

    func openingProgressed(_ progress: OpeningProgress, _ loop: inout LoopContext) {
        if case .pending = progress { return }
        peer = opening?.peer ?? ""
        opening = nil
        switch progress {
        case .pending: break
        case .failed(let failure): openingFailed(failure, &loop)
        case .open(let connection, let info):
            // Must come before the OPEN event: the script may send from its callback.
            guard connection.open() else {
                // The script has called `close`, and the command for it is on its way.
                _ = connection.close(CloseFrame(code: .goingAway), &loop)
                linger(on: connection, &loop)
                return
            }
            self.connection = connection
            reconnectState.connectionOpened(loop.now)
            websocket.setAttempts(reconnectState.attempts)
            connection.onFailure = { [unowned self] in connectionFailed($0, $1, &$2) }
            publishOpen(info, &loop)
            connectionProgressed(connection.start(&loop), &loop)
        }
    }

    /// The first event of an accepted websocket brings the websocket itself to the script.
    func publishOpen(_ info: EventInfo, _ loop: inout LoopContext) {
        guard let server = websocket.server else { return publishEvent(WS_EVENT_OPEN, info, &loop) }
        server.connectionOpened()
        guard websocket.queue.accepted(websocket) else { return leave(&loop) }
        publishEvent(WS_EVENT_OPEN, info, flags: WS_EVENT_ACCEPTED, &loop)
    }

    func openingFailed(_ failure: OpeningFailure, _ loop: inout LoopContext) {
        guard websocket.server == nil else {
            // The script does not know the websocket.
            _ = reconnectState.attemptFailed(permanent: true, random: 0)
            return
        }
        websocket.debugLine("failed: \(failure.reason)", &loop.records)
        var info = EventInfo(error: "Unable to connect \(peer): \(failure.reason)")
        info.add("kind", failure.kind)
        info.add("attempt", reconnectState.attempts)
        if let status = failure.status ?? failure.response?.status { info.add("status", status) }
        if let response = failure.response {
            info.add("headers", response.fields)
            info.add("body", failure.body)
        }
        // Retry-After (RFC 9110 section 10.2.3) counts up to a minute, or up to the script's own maximum.
        let asked = failure.response?.retryAfter ?? 0
        let atLeast = min(asked, max(websocket.options.maxReconnectWait, 60))
        let next = reconnectState.attemptFailed(
            permanent: failure.isPermanent, atLeast: atLeast, random: loop.random.next() ?? 0)
        scheduleNext(next, WS_EVENT_ERROR, &info, &loop)
    }
}
