import CEvents
import CLinux
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

/// Called by a signal handler.
nonisolated(unsafe) private var whenHeld: (() -> Void)?

/// Deadlines, and sockets that are ready at the same time.
extension LoopTests {
    @Test func bytesThatCameBeforeADeadlineCount() throws {
        let timeout = 0.05
        let (_, peer, request) = try connect { $0.connectTimeout = timeout }
        defer { close(peer) }
        try LocalServer.answer(request, to: peer)
        // Both are due, as after a stop of the process.
        let deadline = try #require(loop.context.deadlines.next)
        while now() <= deadline {}
        _ = loop.runOnce(until: nil)
        #expect(queue.takeTypes() == [WS_EVENT_OPEN])
    }

    /// As when a stop of the process falls between the wait and the look at the clock.
    @Test func bytesThatCameWhileTheThreadWasHeldAfterTheWaitCount() throws {
        let (_, peer, request) = try connect { $0.connectTimeout = 0.2 }
        defer { close(peer) }
        let deadline = try #require(loop.context.deadlines.next)
        whenHeld = {
            while now() <= deadline + Nanoseconds(seconds: 0.2) {}
            try? LocalServer.answer(request, to: peer)
        }
        // Nothing else in these tests uses this signal.
        signal(SIGUSR2) { _ in whenHeld?() }
        let before = SignalMask.blockAll()
        defer { before.restore() }
        var signals = sigset_t()
        sigemptyset(&signals)
        pthread_sigmask(SIG_SETMASK, &signals, nil)
        // The wait blocks it: its handler is called as the wait ends, at the deadline.
        sigaddset(&signals, SIGUSR2)
        let thread = pthread_self()
        try startThread {
            while now() + Nanoseconds(seconds: 0.1) <= deadline {}
            pthread_kill(thread, SIGUSR2)
        }
        while queue.isEmpty { _ = loop.runOnce(until: nil, &signals) }
        #expect(now() > deadline + Nanoseconds(seconds: 0.2))
        #expect(queue.takeTypes() == [WS_EVENT_OPEN])
    }

    @Test func aDeadlineEndsTheWait() throws {
        let (_, peer, _) = try connect {
            $0.connectTimeout = 0.05
            $0.reconnect = 0
        }
        defer { close(peer) }
        while queue.isEmpty {
            let outcome = loop.runOnce(until: now() + Nanoseconds(seconds: 10))
            try #require(outcome == .ran)
        }
        #expect(queue.takeTypes() == [WS_EVENT_ERROR])
    }

    @Test func aDeadlineThatIsSetAtADeadlineWaitsForTheSocketsOfTheNextTurn() throws {
        let (_, peer) = try connectAndOpen {
            $0.pingInterval = 0.01
            $0.pongTimeout = 0
        }
        defer { close(peer) }
        try run { LocalServer.isReadable(peer) }
        // The end of pongTimeout was due in the turn of the ping.
        #expect(queue.isEmpty)
        let ping = try LocalServer.receive(14, from: peer)
        try #require(ping[..<2] == [0x89, 0x88])
        try LocalServer.send([0x8A, 8] + (6..<14).map { ping[$0] ^ ping[2 + ($0 - 6) % 4] }, to: peer)
        _ = loop.runOnce(until: 0)
        #expect(queue.isEmpty)
        // The peer answers no more.
        try run { !queue.isEmpty }
        #expect(queue.takeTypes().first == WS_EVENT_ERROR)
    }

    @Test func betweenManyDeadlinesSocketsGetTheirTurn() throws {
        let (_, peer) = try connectAndOpen()
        defer { close(peer) }
        let others = EventQueue()
        let wait = 0.5
        for id in 0..<500 {
            let websocket = try server.websocket(others, id: UInt32(id)) {
                $0.url = Self.refused
                $0.minReconnectWait = wait
                $0.maxReconnectWait = wait
            }
            post(connect: websocket)
        }
        try run { others.count >= 500 }
        let deadline = now() + Nanoseconds(seconds: wait)
        while now() <= deadline {}
        // All attempts are due, and take longer than a slice.
        for _ in 0..<2 {
            try LocalServer.send([0x82, 0], to: peer)
            // On a busy machine other events may use up the slice of the first turn.
            var types: [Int] = []
            for _ in 0..<3 where types.isEmpty {
                _ = loop.runOnce(until: 0)
                types = queue.takeTypes()
            }
            #expect(types == [WS_EVENT_BINARY])
            let areMoreDue = loop.context.deadlines.isDue(deadline)
            #expect(areMoreDue)
        }
    }

    @Test func aSocketThatAlwaysHasMoreDelaysDeadlinesFor64TurnsAtMost() throws {
        let stream = EventQueue()
        let (_, peer) = try connectAndOpen(stream) { $0.maxQueued = .max }
        let (_, silent, _) = try connect { $0.connectTimeout = 0.5 }
        defer { for number in [peer, silent] { close(number) } }
        let message = [0x82, 0x7E, 0x03, 0xE8] + [UInt8](repeating: 0, count: 1000)
        let burst = (0..<4000).flatMap { _ in message }
        var sent = 0
        func turn() {
            // As much as the kernel takes. The next burst begins in the message that this one has cut.
            let rest = burst[(sent % message.count)...]
            sent += max(rest.withUnsafeBytes { send(peer, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT)) }, 0)
            _ = loop.runOnce(until: 0)
            _ = stream.takeTypes()
        }
        // The kernel lets more through from turn to turn.
        while loop.context.unfinished.isEmpty, queue.isEmpty { turn() }
        let deadline = try #require(loop.context.deadlines.next)
        while now() <= deadline {}
        var turns = 0
        while queue.isEmpty, turns < 200 {
            turn()
            turns += 1
        }
        #expect(2...65 ~= turns)
        #expect(queue.takeTypes() == [WS_EVENT_ERROR])
    }

    @Test func aSocketWithMoreThanATurnReadsGetsAnotherWithoutAnEvent() throws {
        let (_, peer) = try connectAndOpen()
        defer { close(peer) }
        // Small messages, more than one turn reads: whatever the kernel takes at once.
        let message = [0x81, 0x7E, 0x03, 0xE8] + [UInt8](repeating: 0x61, count: 1000)
        let burst = (0..<2000).flatMap { _ in message }
        let sent = Glibc.send(peer, burst, burst.count, Int32(MSG_DONTWAIT))
        try #require(sent > 2 * loop.context.readBuffer.count)
        try run { loop.context.unfinished.count == 1 }
        var count = queue.takeTypes().count
        while loop.hasWork {
            // No event is left: a turn that waits ends at the limit.
            let limit = now() + Nanoseconds(seconds: 10)
            _ = loop.runOnce(until: limit)
            try #require(now() < limit)
            count += queue.takeTypes().count
        }
        #expect(count == sent / message.count)
    }
}
