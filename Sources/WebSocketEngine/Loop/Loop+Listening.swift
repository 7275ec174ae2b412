// The servers' part of the loop, on the thread that runs it: listeners have slots as sessions do, and each connection that one
// accepts gets a session of its own.

import Glibc
import WebSocketProtocol

extension Loop {
    mutating func listen(_ server: Server) {
        guard !context.isShuttingDown, server.state == .listening else {
            return server.ended(&context.records)
        }
        let slot = newSlot()
        listeners[slot] = Listener(server, slot: slot)
        withListener(at: slot) { $0.start(&$1) }
    }

    /// Accepts connections, within a time slice; if there are more, the socket is reported again.
    mutating func accept(_ token: Poller.Token, at slot: Int) {
        guard let listener = listeners[slot] else { return }
        var slice = TimeSlice()
        repeat {
            guard let accepted = listener.accept(token, &context) else { break }
            open(accepted, listener.server)
        } while !slice.isUsedUp()
        listener.handled(token, &context)
        schedule(listener)
    }

    private mutating func open(_ accepted: consuming AcceptedSocket, _ server: Server) {
        let isUnix = accepted.peer.family == AF_UNIX
        let name = isUnix ? server.address : accepted.peer.description
        let slot = newSlot()
        do throws(SystemError) {
            let transport = try Transport(
                accepted: accepted.descriptor, isUnix: isUnix, keepsAlive: server.options.keepsAlive && !isUnix,
                slot: slot,
                &context.poller)
            add(Session(acceptedBy: server, transport, name, slot: slot, &context))
            withSession(at: slot) { $0.begin(&$1) }
        } catch {
            server.debugLine("\(name): can't be accepted: \(error.description)", &context.records)
            freeSlots.append(slot)
            connectionEnded(server)
        }
    }

    /// The listening sockets are closed.
    mutating func close(_ server: Server, _ frame: CloseFrame) {
        server.stoppedOpening(&context.records)
        appendCommands(forSessions: { $0.server === server }) { .closeSession($0, frame) }
        for slot in listeners.keys where listeners[slot]?.server === server { withListener(at: slot) { _, _ in } }
    }

    /// The session of a connection has ended.
    mutating func connectionEnded(_ server: Server) {
        for slot in listeners.keys where listeners[slot]?.server === server {
            withListener(at: slot) { $0.connectionEnded(&$1) }
        }
    }

    /// Closes all listening sockets.
    mutating func stopListening() {
        for slot in listeners.keys {
            listeners[slot]?.server.stop()
            withListener(at: slot) { _, _ in }
        }
    }

    /// Calls `body` with the listener, if there is one; then schedules its next deadline, or frees it when it is over.
    mutating func withListener(at slot: Int, _ body: (Listener, inout LoopContext) -> Void) {
        guard let listener = listeners[slot] else { return }
        body(listener, &context)
        schedule(listener)
    }

    private mutating func schedule(_ listener: Listener) {
        guard listener.isOver() else { return context.deadlines.set(listener.deadline, for: listener.slot) }
        context.deadlines.set(nil, for: listener.slot)
        listeners[listener.slot] = nil
        freeSlots.append(listener.slot)
        listener.server.ended(&context.records)
    }
}
