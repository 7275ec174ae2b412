// A session and the script's side of its websocket, on the thread of the test.

import CEvents
import CLinux
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

/// A session, and the script's side of its websocket.
final class TestSession: LoopClient {
    let loop: TestLoop
    let listener: Listener
    let websocket: WebSocket
    let queue = EventQueue()
    let session: Session
    private(set) var events: [Event] = []

    /// - Parameter url: nil: that of `listener`.
    init(_ url: String? = nil, _ change: (inout Options) -> Void = { _ in }) throws {
        listener = try Listener()
        loop = try TestLoop()
        var options = Options()
        try options.setURL(url ?? "ws://127.0.0.1:\(listener.port)/")
        options.proxy = .none
        change(&options)
        websocket = WebSocket(options, queue: queue, id: 1)
        session = Session(websocket, slot: 0)
        loop.client = self
    }

    // A queue and a live websocket refer to each other.
    deinit { queue.endWebsockets("the test has ended") }

    // MARK: - The script's calls, and the loop's part of them

    func connect() {
        websocket.sendQueue.withLock { $0.scriptConnects() }
        queue.websocketStarted(websocket)
        websocket.sendQueue.withLock { $0.callHandled() }
        perform { $0.connect(&$1) }
    }

    func close() {
        websocket.sendQueue.withLock { $0.scriptCloses() }
        websocket.sendQueue.withLock { $0.callHandled() }
        perform { $0.close(CloseFrame(code: .normal), &$1) }
    }

    func perform(_ body: (Session, inout LoopContext) -> Void) {
        body(session, &loop.context)
        session.schedule(&loop.context)
    }

    /// The script delivers its events.
    @discardableResult
    func poll() -> [Event] {
        let (new, bytes) = queue.takeEvents()
        events += new
        if websocket.hasCaughtUp(after: bytes) { perform { $0.resume(&$1) } }
        return new
    }

    /// Runs the loop until the script has delivered this many events in all.
    func awaitEvents(_ count: Int, sourceLocation: SourceLocation = #_sourceLocation) throws {
        try loop.run(
            until: {
                poll()
                return events.count >= count
            }, "\(events)", sourceLocation: sourceLocation)
    }

    /// All events so far, by their names.
    var names: String {
        poll()
        return events.map(\.name).joined(separator: " ")
    }

    /// Opens a connection, from the first event on.
    func open(sourceLocation: SourceLocation = #_sourceLocation) throws -> Peer {
        let count = events.count
        let peer = try listener.accept(loop, sourceLocation: sourceLocation)
        try peer.acceptHandshake(loop, sourceLocation: sourceLocation)
        try awaitEvents(count + 1, sourceLocation: sourceLocation)
        #expect(events.last?.name == "OPEN", sourceLocation: sourceLocation)
        return peer
    }

    // MARK: - LoopClient

    func ready(_ readiness: Poller.Readiness, on loop: TestLoop) { perform { $0.ready(readiness, &$1) } }
    func lookupFinished(_ token: Poller.Token, _ resolution: Resolution, on loop: TestLoop) {
        perform { $0.lookupFinished(token, resolution, &$1) }
    }
    func tlsContextFinished(_ token: Poller.Token, _ result: Result<TLSContext, TLSFailure>, on loop: TestLoop) {
        perform { $0.tlsContextFinished(token, result, &$1) }
    }
    func timeout(on loop: TestLoop) {
        guard loop.context.deadlines.popExpired(loop.context.now) != nil else { return }
        perform { $0.timeout(&$1) }
    }
    var deadline: Nanoseconds? { loop.context.deadlines.next }
}
