// A loop without a thread, for the tests of what a loop runs: the test's thread runs it, and the test sets the time.

import CLinux
import Glibc
import Testing

@testable import WebSocketEngine

/// What TestLoop runs: an attempt to connect, or a whole session.
protocol LoopClient: AnyObject {
    func ready(_ readiness: Poller.Readiness, on loop: TestLoop)
    func lookupFinished(_ token: Poller.Token, _ resolution: Resolution, on loop: TestLoop)
    func tlsContextFinished(_ token: Poller.Token, _ result: Result<TLSContext, TLSFailure>, on loop: TestLoop)
    func timeout(on loop: TestLoop)
    var deadline: Nanoseconds? { get }
}

/// For a client without names, TLS and deadlines.
extension LoopClient {
    func lookupFinished(_ token: Poller.Token, _ resolution: Resolution, on loop: TestLoop) {}
    func tlsContextFinished(_ token: Poller.Token, _ result: Result<TLSContext, TLSFailure>, on loop: TestLoop) {}
    func timeout(on loop: TestLoop) {}
    var deadline: Nanoseconds? { nil }
}

final class TestLoop {
    var context: LoopContext
    weak var client: (any LoopClient)?
    /// Answers of other threads that have come.
    private(set) var answers = 0
    private let commandToken: Poller.Token

    /// - Parameter lookUp: answers for the system's resolver.
    init(lookUp: @escaping @Sendable (HostAndPort) -> Resolution = { .failed("\($0.host) is unknown") }) throws {
        let queue = try CommandQueue(try LoopOwnership())
        var poller = try Poller()
        let token = try poller.add(queue.wakeup, slot: 1, .read)
        let readBuffer = try allocate(LoopContext.readBufferSize)
        commandToken = token
        context = LoopContext(poller, queue, adopting: readBuffer)
        context.resolver = Resolver(lookUp: lookUp)
        // Far from 0, so that times before it exist, and not the real time.
        context.now = Nanoseconds(seconds: 1000)
    }

    /// Runs until `condition` holds. Time does not pass.
    func run(
        until condition: () throws -> Bool, _ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let limit = now() + Nanoseconds(seconds: 20)
        while try !condition() {
            try #require(now() < limit, comment ?? "nothing more happens", sourceLocation: sourceLocation)
            runOnce(until: now() + Nanoseconds(seconds: 0.01))
        }
    }

    /// Handles what has come by now.
    func runOnce() { runOnce(until: 0) }

    private func runOnce(until limit: Nanoseconds) {
        let hasWork = !context.commandQueue.prepareToWait() || !context.unfinished.isEmpty
        let count = context.poller.wait(until: hasWork ? 0 : limit)
        context.poller.noteTime(now())
        var isSignalled = false
        for index in 0..<max(count, 0) {
            let readiness = context.poller.readiness(at: index)
            if readiness.token == commandToken {
                isSignalled = true
            } else if Poller.slot(of: readiness.token) == 0 {
                client?.ready(readiness, on: self)
            }
        }
        context.commandQueue.didWake(signalled: isSignalled)
        let unfinished = context.unfinished
        context.unfinished.removeAll()
        for token in unfinished { client?.ready(.requestedTurn(token), on: self) }
        executeCommands()
    }

    /// The answers of other threads.
    private func executeCommands() {
        var commands: [Command] = []
        context.commandQueue.drain(into: &commands)
        for command in commands {
            answers += 1
            switch command {
            case .lookupFinished(let name, let resolution):
                for token in context.resolver.finished(name, context.commandQueue) {
                    client?.lookupFinished(token, resolution, on: self)
                }
            case .tlsContextMade(let options, let result):
                for token in context.tlsContexts.finished(options, result, context.commandQueue) {
                    client?.tlsContextFinished(token, result, on: self)
                }
            default: Issue.record("a command that nobody posts here: \(command)")
            }
        }
    }

    /// Lets time pass; what is due meanwhile happens at its time.
    func pass(_ seconds: Double) {
        let end = context.now + Nanoseconds(seconds: seconds)
        while let deadline = client?.deadline, deadline <= end {
            context.now = max(deadline, context.now)
            client?.timeout(on: self)
        }
        context.now = end
    }
}
