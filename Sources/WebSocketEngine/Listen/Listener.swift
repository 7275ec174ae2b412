// The loop's part of a server: accepts connections, and pauses while there are `maxconnections` or the system has no descriptor
// left. Loop owns it, in a slot as if it were a session, and calls it on the thread that runs the loop.

import Glibc
import WebSocketProtocol

final class Listener {
    private enum State {
        case accepting
        /// Until a connection ends.
        case full
        /// The system has failed: until this time, or until a connection ends.
        case failed(until: Nanoseconds)
    }

    let server: Server
    let slot: Int
    /// Those of the listening sockets that are registered.
    private var tokens: [Poller.Token?] = [nil, nil]
    private var state = State.accepting
    /// Connections whose sessions have not ended.
    private var connections = 0

    /// Time until the next try when the system has refused: no processor time is lost, and no event tells when it is better.
    private static let pause = Nanoseconds(seconds: 0.1)

    init(_ server: Server, slot: Int) {
        self.server = server
        self.slot = slot
    }

    /// When `timeout` is to be called.
    var deadline: Nanoseconds? {
        if case .failed(let time) = state { return time }
        return nil
    }

    /// Whether nothing will come any more.
    func isOver() -> Bool { connections == 0 && server.state != .listening }

    /// What a listening socket reports, level-triggered: a turn may leave connections unaccepted. Once, since epoll would go on
    /// reporting it when the host has closed it and a forked child has it still.
    private static let interest: Poller.Interest = [.read, .once]

    /// Registers the sockets.
    func start(_ loop: inout LoopContext) {
        state = .accepting
        var failure: SystemError?
        server.withSockets { sockets in
            sockets.forEach { socket, index in
                if let token = tokens[index] {
                    loop.poller.change(socket.number, token, to: Self.interest)
                    return
                }
                let number = socket.register(with: loop.poller.descriptorNumber)
                do throws(SystemError) {
                    tokens[index] = try loop.poller.add(number, slot: slot, Self.interest)
                } catch {
                    failure = error
                }
            }
        }
        if let failure { failed(failure, &loop) }
    }

    /// Accepts the next connection; nil if there is none, or none may be accepted.
    func accept(_ token: Poller.Token, _ loop: inout LoopContext) -> AcceptedSocket? {
        guard case .accepting = state, let index = tokens.firstIndex(of: token) else { return nil }
        guard connections < server.options.maxConnections else {
            server.debugLine("accepting pauses: there are maxconnections (\(connections))", &loop.records)
            state = .full
            return nil
        }
        do throws(SystemError) {
            let accepted = try server.accept(from: index)
            connections += 1
            return accepted
        } catch {
            acceptFailed(error, &loop)
            return nil
        }
    }

    private func acceptFailed(_ error: SystemError, _ loop: inout LoopContext) {
        switch error.number {
        // No connection is left, or the one that came is gone already (accept(2)).
        case EAGAIN, ECONNABORTED, EPROTO, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH, EPERM:
            return
        default: failed(error, &loop)
        }
    }

    /// The system has no descriptor or memory left.
    private func failed(_ error: SystemError, _ loop: inout LoopContext) {
        server.debugLine("accepting pauses: \(error.description)", &loop.records)
        state = .failed(until: loop.now + Self.pause)
    }

    /// To be called after an event and the `accept`s that followed: asks for the next event, unless accepting pauses.
    func handled(_ token: Poller.Token, _ loop: inout LoopContext) {
        guard case .accepting = state else { return }
        server.withSockets { sockets in
            sockets.forEach { socket, index in
                if tokens[index] == token { loop.poller.change(socket.number, token, to: Self.interest) }
            }
        }
    }

    /// A session of this server has ended.
    func connectionEnded(_ loop: inout LoopContext) {
        connections -= 1
        if case .accepting = state { return }
        start(&loop)
    }

    func timeout(_ loop: inout LoopContext) {
        guard let deadline, deadline <= loop.now else { return }
        start(&loop)
    }
}
