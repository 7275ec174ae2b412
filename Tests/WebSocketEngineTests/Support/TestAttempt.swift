// One attempt to connect, and what it has come to, on the thread of the test.

import CLinux
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

final class TestAttempt: LoopClient {
    let loop: TestLoop
    let websocket: WebSocket
    let attempt: ConnectAttempt
    private(set) var failure: ConnectAttempt.Failure?
    private(set) var connection: OpenConnection?
    private(set) var info = Event(UnsafeRawBufferPointer(start: nil, count: 0))
    var isOver: Bool { failure != nil || connection != nil }

    /// Begins the attempt.
    /// - Parameter addresses: of the names that are looked up; others are unknown, unless there is a `resolver`.
    init(
        _ url: String, hasWorked: Bool = false, addresses: [String: [Address]] = [:], resolver: Resolver? = nil,
        _ change: (inout Options) throws -> Void = { _ in }
    ) throws {
        loop = try TestLoop { addresses[$0.host].map { .addresses($0) } ?? .failed("unknown") }
        if let resolver { loop.context.resolver = resolver }
        var options = Options()
        try options.setURL(url)
        try change(&options)
        websocket = WebSocket(options, queue: EventQueue(), id: 1)
        attempt = ConnectAttempt(
            websocket, try #require(options.url), slot: 0, hasWorked: hasWorked, now: loop.context.now)
        loop.client = self
        progressed(attempt.begin(&loop.context))
    }

    private func progressed(_ progress: ConnectAttempt.Progress) {
        switch progress {
        case .pending: return
        case .failed(let failure):
            #expect(!isOver)
            self.failure = failure
        case .open(let connection, let info):
            #expect(!isOver)
            self.connection = connection
            self.info = info.payload.withUnsafeBytes { Event($0) }
        }
    }

    /// Runs the loop until the attempt has failed.
    func awaitFailure(sourceLocation: SourceLocation = #_sourceLocation) throws -> ConnectAttempt.Failure {
        try loop.run(until: { isOver }, "it does not end", sourceLocation: sourceLocation)
        return try #require(failure, sourceLocation: sourceLocation)
    }

    /// Runs the loop until the attempt has opened a connection.
    func awaitConnection(sourceLocation: SourceLocation = #_sourceLocation) throws -> OpenConnection {
        try loop.run(until: { isOver }, "it does not end", sourceLocation: sourceLocation)
        return try #require(connection, "\(failure?.reason ?? "")", sourceLocation: sourceLocation)
    }

    var isRacing: Bool { if case .race = attempt.stage { true } else { false } }

    // MARK: - LoopClient

    func ready(_ readiness: Poller.Readiness, on loop: TestLoop) {
        if !isOver { progressed(attempt.ready(readiness, &loop.context)) }
    }
    func lookupFinished(_ token: Poller.Token, _ resolution: Resolution, on loop: TestLoop) {
        progressed(attempt.lookupFinished(token, resolution, &loop.context))
    }
    func tlsContextFinished(_ token: Poller.Token, _ result: Result<TLSContext, TLSFailure>, on loop: TestLoop) {
        progressed(attempt.tlsContextFinished(token, result, &loop.context))
    }
    func timeout(on loop: TestLoop) { progressed(attempt.timeout(&loop.context)) }
    var deadline: Nanoseconds? { isOver ? nil : attempt.deadline }
}
