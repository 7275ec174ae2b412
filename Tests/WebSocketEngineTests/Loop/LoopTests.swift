import CEvents
import CLinux
import Dispatch
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

/// The loop on the test's thread.
@Suite final class LoopTests {
    let server: LocalServer
    private let commandQueue: CommandQueue
    var loop: Loop
    let queue = EventQueue()

    init() throws {
        server = try LocalServer()
        commandQueue = try CommandQueue(try LoopOwnership())
        loop = try Loop(commandQueue)
    }

    /// Runs the loop until `condition` holds, for 10 s at most.
    func run(until condition: () -> Bool) throws {
        let limit = now() + Nanoseconds(seconds: 10)
        while !condition() {
            _ = loop.runOnce(until: 0)
            try #require(now() < limit)
        }
    }

    /// Starts a websocket, and returns the server's socket once the request has been received.
    func connect(
        _ other: EventQueue? = nil, change: (inout Options) -> Void = { _ in }
    ) throws -> (WebSocket, Int32, String) {
        let websocket = try server.websocket(other ?? queue, change: change)
        post(connect: websocket)
        _ = loop.runOnce(until: 0)
        let peer = try server.accept()
        try run { LocalServer.isReadable(peer) }
        return (websocket, peer, try LocalServer.readRequest(from: peer))
    }

    func connectAndOpen(
        _ other: EventQueue? = nil, change: (inout Options) -> Void = { _ in }
    ) throws -> (WebSocket, Int32) {
        let (websocket, peer, request) = try connect(other, change: change)
        try LocalServer.answer(request, to: peer)
        try run { !(other ?? queue).isEmpty }
        try #require((other ?? queue).takeTypes() == [WS_EVENT_OPEN])
        return (websocket, peer)
    }

    func post(connect websocket: WebSocket) {
        websocket.sendQueue.withLock { $0.scriptConnects() }
        websocket.queue.websocketStarted(websocket)
        commandQueue.post(.connect(websocket))
    }

    static let refused = try! WebSocketURL("ws://127.0.0.1:1/")

    // MARK: - Commands

    @Test func aCommandBeforeTheWaitEndsIt() throws {
        post(connect: try server.websocket(queue) { $0.url = Self.refused })
        // Without a deadline: it would wait for ever.
        let outcome = loop.runOnce(until: nil)
        #expect(outcome == .ran)
        #expect(loop.sessions.count == 1)
    }

    /// A loop of the host waits for its descriptor.
    @Test func isReadableWhileThereIsWork() throws {
        let number = loop.context.poller.descriptorNumber
        let limit = now() + Nanoseconds(seconds: 10)
        func run() throws {
            repeat {
                _ = loop.runOnce(until: 0)
                loop.signalWork()
                try #require(now() < limit)
            } while isReadable(number)
        }
        try run()
        commandQueue.wake()
        #expect(isReadable(number))
        try run()
        let (_, peer) = try connectAndOpen()
        try run()
        try LocalServer.send([0x89, 0], to: peer)
        #expect(isReadable(number, within: 10))
        try run()
        #expect(queue.takeTypes() == [WS_EVENT_PING])
        // Posted before it was known that nobody waits.
        _ = loop.runOnce(until: 0)
        commandQueue.wake()
        #expect(!isReadable(number))
        loop.signalWork()
        #expect(isReadable(number))
        try run()
        let deadline = now() + Nanoseconds(seconds: 0.02)
        loop.context.deadlines.set(deadline, for: 5)
        loop.signalWork()
        #expect(isReadable(number, within: 10))
        #expect(now() >= deadline)
        try run()
        // More than epoll knows of.
        loop.context.unfinished.append(5)
        loop.signalWork()
        #expect(isReadable(number))
        try run()
    }

    @Test func aCommandDuringTheWaitEndsIt() throws {
        let websocket = try server.websocket(queue) { $0.url = Self.refused }
        let commandQueue = commandQueue
        try startThread {
            // The loop waits by now, or will find the command before it does.
            commandQueue.post(.connect(websocket))
        }
        _ = loop.runOnce(until: now() + Nanoseconds(seconds: 10))
        #expect(loop.slots.count == 1)
    }

    @Test func manyCommandsTakeSeveralTurns() throws {
        let websockets = try (0..<3000).map { id in
            try server.websocket(queue, id: UInt32(id)) { $0.url = Self.refused }
        }
        for websocket in websockets { post(connect: websocket) }
        _ = loop.runOnce(until: 0)
        let first = loop.sessions.count
        #expect(first > 0 && first < websockets.count)
        var turns = 1
        while loop.executedCommands < loop.commands.count {
            _ = loop.runOnce(until: 0)
            turns += 1
        }
        #expect(turns > 2)
        #expect(loop.sessions.count == websockets.count)
    }

    @Test func aLuaStateThatEndsDropsItsOwnSessions() throws {
        let other = EventQueue()
        var peers: [Int32] = []
        defer { for peer in peers { close(peer) } }
        for _ in 0..<3 { peers.append(try connectAndOpen().1) }
        peers.append(try connectAndOpen(other).1)
        commandQueue.post(.dropSessions(queue))
        try run { queue.count == 3 }
        #expect(queue.takeTypes() == [WS_EVENT_CLOSE, WS_EVENT_CLOSE, WS_EVENT_CLOSE])
        #expect(other.isEmpty)
    }

    @Test func theEndOfTheProcessClosesAllAndStartsNothing() throws {
        var peers: [Int32] = []
        defer { for peer in peers { close(peer) } }
        for _ in 0..<3 { peers.append(try connectAndOpen().1) }
        let areAllClosed = DispatchSemaphore(value: 0)
        commandQueue.post(.shutDown(areAllClosed))
        for peer in peers {
            try run { LocalServer.isReadable(peer) }
            // A Close of 8 bytes with a mask, and the peer's answer: 1001.
            #expect(try LocalServer.receive(8, from: peer).prefix(2) == [0x88, 0x82])
            #expect(areAllClosed.wait(timeout: .now()) == .timedOut)
            try LocalServer.send([0x88, 2, 0x03, 0xE9], to: peer)
            shutdown(peer, Int32(SHUT_WR))
        }
        try run { loop.slots.isEmpty }
        #expect(areAllClosed.wait(timeout: .now()) == .success)
        post(connect: try server.websocket(queue))
        _ = loop.runOnce(until: nil)
        #expect(commandQueue.hasCommands == false && loop.slots.isEmpty)
    }

    @Test func aStoppedLoopRunsNoMore() throws {
        let (websocket, peer) = try connectAndOpen()
        defer { close(peer) }
        let hasStopped = DispatchSemaphore(value: 0)
        commandQueue.post(.stopLoop(hasStopped))
        for _ in 0..<2 {
            let outcome = loop.runOnce(until: nil)
            #expect(outcome == .stopped)
        }
        #expect(hasStopped.wait(timeout: .now()) == .success)
        #expect(websocket.state != .open)
        // The connection is closed, without a Close frame.
        var byte: UInt8 = 0
        #expect(read(peer, &byte, 1) == 0)
    }

    // MARK: - Ends of a wait

    @Test func aSignalEndsTheWait() throws {
        signal(SIGURG) { _ in }
        var mask = sigset_t()
        sigemptyset(&mask)
        let before = SignalMask.blockAll()
        defer { before.restore() }
        // Pending, and delivered as the wait opens the mask.
        pthread_kill(pthread_self(), SIGURG)
        let outcome = loop.runOnce(until: nil, &mask)
        #expect(outcome == .interrupted)
    }

    @Test func withoutEpollItFails() throws {
        let number = loop.context.poller.descriptorNumber
        try replaceDescriptor(number)
        defer { close(number) }
        let outcome = loop.runOnce(until: nil)
        #expect(outcome == .failed(SystemError("epoll_wait", EBADF)))
    }
}
