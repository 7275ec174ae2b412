import CEvents
import CLinux
import Dispatch
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

@Suite struct OpenConnectionTests {
    /// An open connection, and the peer's end of its socket: all on one thread.
    final class Pair {
        let connection: OpenConnection
        let peer: Int32
        let websocket: WebSocket
        let queue: EventQueue
        var loop: LoopContext
        /// The peer's side of the protocol.
        private var decoder = MessageReader(role: .server, maximumMessageSize: .max, inflating: nil)
        var received = EventRecords()

        init(maxQueued: Int = 1 << 30, debug: Bool = false, change: (inout Options) -> Void = { _ in }) throws {
            let path = "/tmp/websocket-connection-\(getpid())-\(UInt32.random(in: 0 ... .max))"
            let listener = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            defer {
                close(listener)
                unlink(path)
            }
            let address = try #require(Address(path: path))
            try #require(address.withSockaddr { bind(listener, $0, $1) } == 0 && listen(listener, 1) == 0)
            loop = LoopContext(
                try Poller(), try CommandQueue(try LoopOwnership()),
                adopting: try allocate(LoopContext.readBufferSize))
            let transport = try Transport(connecting: address, slot: 0, &loop.poller)
            peer = accept(listener, nil, nil)
            try #require(peer >= 0 && fcntl(peer, F_SETFL, O_NONBLOCK) == 0)
            var room: Int32 = 1 << 20
            setsockopt(peer, SOL_SOCKET, SO_SNDBUF, &room, socklen_t(4))
            queue = EventQueue()
            var options = Options()
            options.maxQueued = maxQueued
            options.debug = debug
            change(&options)
            websocket = WebSocket(options, queue: queue, id: 1)
            connection = OpenConnection(websocket, transport, ClientHandshake.Agreement(), [], key: 0, now: 0)
            try #require(connection.start(&loop) == .going)
        }

        deinit { close(peer) }

        /// Sends a message from Lua's thread; some of it waits.
        func sendMoreThanLeavesAtOnce() throws -> [UInt8] {
            var random = RandomPool()
            let message = [UInt8](repeating: 0x41, count: 4 << 20)
            let result = message.withUnsafeBytes { bytes in
                withUnsafePointer(to: bytes) {
                    websocket.send(
                        .binary, UnsafeBufferPointer(start: $0, count: 1), random: &random, directly: true)
                }
            }
            #expect(result == .sent)
            try #require(websocket.bufferedAmount > 0)
            return message
        }

        /// The peer sends a ping, and the connection reads it.
        func ping() throws {
            let frame: [UInt8] = [0x89, 2, 0x68, 0x69]
            try #require(write(peer, frame, frame.count) == frame.count)
            let event = Poller.Readiness(token: connection.token, readable: true, writable: false, endsOrStops: false)
            #expect(connection.ready(event, &loop) == .going)
        }

        /// The peer reads a piece of what the connection sends into `received`; then more can be written.
        func receive() throws -> MessageReader.Outcome {
            var input = [UInt8](repeating: 0, count: 1 << 20)
            let count = read(peer, &input, input.count)
            try #require(count > 0, "the rest of the frames does not come")
            let outcome = input.withUnsafeMutableBytes {
                decoder.receive(UnsafeMutableRawBufferPointer(rebasing: $0[..<count]), into: &received)
            }
            let event = Poller.Readiness(token: connection.token, readable: false, writable: true, endsOrStops: false)
            #expect(connection.ready(event, &loop) == .going)
            return outcome
        }

        var receivedTypes: [Int] { received.elements.map(\.type) }

        /// The code of the Close that the peer reads next.
        func closeCode() throws -> UInt16 {
            var frame = [UInt8](repeating: 0, count: 256)
            let count = read(peer, &frame, frame.count)
            try #require(count >= 8 && frame[0] == 0x88)
            return UInt16(frame[6] ^ frame[2]) << 8 | UInt16(frame[7] ^ frame[3])
        }

        /// Sends empty messages, as many as the socket takes; returns their bytes.
        func flood() -> Int {
            let frames = (0..<4096).flatMap { _ in [UInt8](arrayLiteral: 0x82, 0) }
            var total = 0
            while true {
                let count = write(peer, frames, frames.count)
                guard count > 0 else { return total }
                total += count
            }
        }
    }

    @Test func anEventBesideWhatWasPromisedIsNoSecondTurn() throws {
        let pair = try Pair()
        let event = Poller.Readiness(token: pair.connection.token, readable: true, writable: false, endsOrStops: false)
        var sent = pair.flood()
        try #require(sent > pair.loop.readBuffer.count)
        // More than one turn takes: the rest is promised.
        #expect(pair.connection.ready(event, &pair.loop) == .going)
        #expect(pair.loop.unfinished == [pair.connection.token])
        for _ in 0..<5 {
            sent += pair.flood()
            let before = pair.queue.count
            #expect(pair.connection.ready(event, &pair.loop) == .going)
            #expect(pair.queue.count == before)
            #expect(pair.loop.unfinished == [pair.connection.token])
            pair.loop.unfinished.removeAll()
            #expect(pair.connection.ready(.requestedTurn(pair.connection.token), &pair.loop) == .going)
            #expect(pair.queue.count > before)
            #expect(pair.loop.unfinished == [pair.connection.token])
        }
        // And to the end: none is lost.
        while !pair.loop.unfinished.isEmpty {
            pair.loop.unfinished.removeAll()
            #expect(pair.connection.ready(.requestedTurn(pair.connection.token), &pair.loop) == .going)
        }
        #expect(pair.queue.count == sent / 2)
        // Events count again.
        #expect(pair.flood() > 0)
        #expect(pair.connection.ready(event, &pair.loop) == .going)
        #expect(pair.queue.count > sent / 2)
    }

    @Test(arguments: [false, true]) func aReadThatFillsTheQueuePausesTheNext(debug: Bool) throws {
        // A line for the debug function publishes what came with it: the pause belongs to the read all the same.
        let pair = try Pair(maxQueued: 1, debug: debug)
        let event = Poller.Readiness(token: pair.connection.token, readable: true, writable: false, endsOrStops: false)
        let messageAndPing: [UInt8] = [0x82, 0, 0x89, 0]
        try #require(write(pair.peer, messageAndPing, messageAndPing.count) == messageAndPing.count)
        #expect(pair.connection.ready(event, &pair.loop) == .going)
        let before = pair.queue.count
        #expect(before > 0)
        #expect(pair.flood() > 0)
        #expect(pair.connection.ready(event, &pair.loop) == .going)
        #expect(pair.queue.count == before)
    }

    @Test func aPongDoesNotBreakIntoAFrameThatTheScriptBegan() throws {
        // The kernel takes a part of a message from Lua's thread; the rest waits for the engine.
        let pair = try Pair()
        try #require(pair.connection.open())
        let message = try pair.sendMoreThanLeavesAtOnce()
        try pair.ping()
        while pair.received.count < 2 { try #require(pair.receive() == .open) }
        #expect(pair.receivedTypes == [WS_EVENT_BINARY, WS_EVENT_PONG])
        var records = pair.received.elements
        #expect(records.next()?.payload.elementsEqual(message) == true)
    }

    @Test func aPongIsWrittenBeforeTheEventsOfItsReadArePublished() throws {
        let pair = try Pair()
        try #require(pair.connection.open())
        let pingAndMessage: [UInt8] = [0x89, 0, 0x82, 0]
        try #require(write(pair.peer, pingAndMessage, pingAndMessage.count) == pingAndMessage.count)
        let hasRead = DispatchSemaphore(value: 0)
        // unsafe: until `hasRead`, this thread uses only the peer's socket and the queue's lock.
        nonisolated(unsafe) let loopSide = pair
        try pair.queue.shared.withLock { (_) throws in
            try startThread {
                let token = loopSide.connection.token
                _ = loopSide.connection.ready(.requestedTurn(token), &loopSide.loop)
                hasRead.signal()
            }
            // Nothing can be published yet.
            var entry = pollfd(fd: pair.peer, events: Int16(POLLIN), revents: 0)
            #expect(retrying { Int(poll(&entry, 1, 10_000)) } == 1, "the pong comes behind the events")
        }
        #expect(hasRead.wait(timeout: .now() + 10) == .success)
        #expect(pair.queue.takeTypes() == [WS_EVENT_PING, WS_EVENT_BINARY])
        #expect(try pair.receive() == .open && pair.receivedTypes == [WS_EVENT_PONG])
    }

    @Test func aPongDoesNotWaitUntilTheScriptHasNoMoreToSend() throws {
        let pair = try Pair()
        try #require(pair.connection.open())
        _ = try pair.sendMoreThanLeavesAtOnce()
        // So much is on its way that the pong waits.
        #expect(pair.connection.flush(&pair.loop) == .going)
        try pair.ping()
        _ = try pair.sendMoreThanLeavesAtOnce()
        while pair.received.count < 3 { try #require(pair.receive() == .open) }
        #expect(pair.receivedTypes == [WS_EVENT_BINARY, WS_EVENT_PONG, WS_EVENT_BINARY])
    }

    @Test func aPongDoesNotComeBehindTheClose() throws {
        let pair = try Pair()
        try #require(pair.connection.open())
        _ = try pair.sendMoreThanLeavesAtOnce()
        #expect(pair.connection.flush(&pair.loop) == .going)
        try pair.ping()
        #expect(pair.connection.close(CloseFrame(code: .normal), &pair.loop) == .going)
        var outcome = MessageReader.Outcome.open
        while outcome == .open { outcome = try pair.receive() }
        #expect(outcome == .closed(CloseFrame(code: .normal)))
        #expect(pair.receivedTypes == [WS_EVENT_BINARY, WS_EVENT_PONG])
        var byte: UInt8 = 0
        #expect(read(pair.peer, &byte, 1) == -1, "nothing comes behind it")
    }

    @Test func anEndIsNotCleanWhenOurCloseHasNotLeft() throws {
        let pair = try Pair()
        try #require(pair.connection.open())
        // Behind this the kernel takes no more.
        let descriptor = try #require(pair.connection.transport.writerForScript?.descriptor.number)
        let bytes = [UInt8](repeating: 0, count: 4096)
        while write(descriptor, bytes, bytes.count) > 0 {}
        #expect(pair.connection.close(CloseFrame(code: .normal), &pair.loop) == .going)
        let close: [UInt8] = [0x88, 2, 0x03, 0xE8]
        try #require(write(pair.peer, close, close.count) == close.count)
        shutdown(pair.peer, Int32(SHUT_WR))
        let event = Poller.Readiness(token: pair.connection.token, readable: true, writable: false, endsOrStops: true)
        #expect(pair.connection.ready(event, &pair.loop) == .over)
        let summary = pair.connection.finish()
        #expect(!summary.result.isClean && summary.unsent > 0 && summary.result.code == .normal)
    }

    /// A message before the violation leaves the script behind; it then has half a second.
    @Test(arguments: [false, true]) func aFailureIsReportedOnce(scriptIsBehind: Bool) throws {
        let pair = try Pair()
        try #require(pair.connection.open())
        var kinds: [String] = []
        pair.connection.onFailure = { kind, _, _ in kinds.append(kind) }
        // An empty message; a masked frame, which no server may send (RFC 6455 5.1).
        let frames: [UInt8] = (scriptIsBehind ? [0x82, 0] : []) + [0x81, 0x80, 0, 0, 0, 0]
        try #require(write(pair.peer, frames, frames.count) == frames.count)
        let event = Poller.Readiness(token: pair.connection.token, readable: true, writable: false, endsOrStops: false)
        var progress = pair.connection.ready(event, &pair.loop)
        if scriptIsBehind {
            #expect(progress == .going && kinds.isEmpty && pair.connection.isPaused)
            pair.loop.now = try #require(pair.connection.deadline)
            progress = pair.connection.timeout(&pair.loop)
        }
        #expect(progress == .over && kinds == ["protocol"])
        #expect(try pair.closeCode() == 1002)
        #expect(pair.connection.finish().result.isComplete)
    }

    @Test func aWriteThatFailsIsTheCauseOfAnEnd() throws {
        let pair = try Pair()
        try #require(pair.connection.open())
        // Nothing can be written, and nothing is there to be read.
        shutdown(try #require(pair.connection.transport.writerForScript?.descriptor.number), Int32(SHUT_WR))
        #expect(pair.connection.close(CloseFrame(code: .normal), &pair.loop) == .over)
        let result = pair.connection.finish().result
        #expect(result.code == .abnormal && result.cause == "the connection broke: Broken pipe")
    }

    /// A Unix socket has no acknowledgements, which would be real where the time is not.
    @Test func aTimeoutIsTheCauseOfAnEnd() throws {
        let closing = try Pair { $0.closeTimeout = 3 }
        try #require(closing.connection.open())
        #expect(closing.connection.close(CloseFrame(code: .normal), &closing.loop) == .going)
        closing.loop.now = try #require(closing.connection.deadline)
        #expect(closing.connection.timeout(&closing.loop) == .over)
        let words = "the peer sent no Close frame within the closetimeout of 3.0 s"
        #expect(closing.connection.finish().result.cause == words)

        let silent = try Pair {
            $0.pingInterval = 1
            $0.pongTimeout = 2
        }
        try #require(silent.connection.open())
        var failures: [String] = []
        silent.connection.onFailure = { kind, reason, _ in failures += [kind, reason] }
        // A ping, then its answer, and deadlines of other things.
        var progress = silent.connection.timeout(&silent.loop)
        for _ in 0..<10 where progress == .going {
            silent.loop.now = try #require(silent.connection.deadline)
            progress = silent.connection.timeout(&silent.loop)
        }
        #expect(progress == .over)
        let result = silent.connection.finish().result
        #expect(result.cause == "no sign of life within the pongtimeout of 2.0 s after a ping" && !result.isRemote)
        #expect(failures == ["timeout", result.cause])
    }

    @Test func aPeerThatSendsOnAndOnGetsMoreTimeForItsCloseByTheFirstPauseOnly() throws {
        let pair = try Pair { $0.maxQueued = 1 }
        try #require(pair.connection.open())
        #expect(pair.connection.close(CloseFrame(code: .normal), &pair.loop) == .going)
        let timeout = Nanoseconds(seconds: pair.websocket.options.closeTimeout)
        let first = try #require(pair.connection.deadline)
        var records = EventRecords()
        // Reads a part, and stops because the script has not delivered it.
        func pause() throws {
            #expect(pair.flood() > 0)
            #expect(pair.connection.ready(.requestedTurn(pair.connection.token), &pair.loop) == .going)
            try #require(pair.connection.isPaused)
        }
        try pause()
        #expect(pair.connection.deadline == nil)
        pair.loop.now += 10 * timeout
        while pair.connection.isPaused {
            pair.queue.take(&records)
            pair.websocket.delivered(records.size)
            _ = pair.connection.resume(&pair.loop)
        }
        #expect(pair.connection.deadline == first + 10 * timeout)
        try pause()
        #expect(pair.connection.deadline == first + 10 * timeout)
        pair.loop.now += timeout
        #expect(pair.connection.timeout(&pair.loop) == .over)
    }

    @Test func aCleanEndHasNoUnsentBytes() throws {
        let pair = try Pair()
        try #require(pair.connection.open())
        #expect(pair.connection.close(CloseFrame(code: .normal), &pair.loop) == .going)
        let close: [UInt8] = [0x88, 2, 0x03, 0xE8]
        try #require(write(pair.peer, close, close.count) == close.count)
        let event = Poller.Readiness(token: pair.connection.token, readable: true, writable: false, endsOrStops: false)
        #expect(pair.connection.ready(event, &pair.loop) == .over)
        let summary = pair.connection.finish()
        #expect(summary.result.isClean && summary.unsent == 0)
    }

    @Test func theAnswerToACloseLeavesNothingUnsent() throws {
        let pair = try Pair()
        try #require(pair.connection.open())
        // A message that is written by the loop, then the peer's Close.
        _ = try pair.sendMoreThanLeavesAtOnce()
        var progress = pair.connection.flush(&pair.loop)
        let close: [UInt8] = [0x88, 2, 0x03, 0xE8]
        try #require(write(pair.peer, close, close.count) == close.count)
        var input = [UInt8](repeating: 0, count: 1 << 20)
        for _ in 0..<100 where progress == .going {
            _ = read(pair.peer, &input, input.count)
            progress = pair.connection.ready(.requestedTurn(pair.connection.token), &pair.loop)
        }
        try #require(progress == .over)
        let summary = pair.connection.finish()
        #expect(summary.result.isClean && summary.unsent == 0)
    }
}
