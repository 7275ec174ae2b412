import CEvents
import CLinux
import Dispatch
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

/// The engine is one for the process: each test has a process of its own. What throws there ends it, and the test fails.
@Suite struct EngineTests {
    /// A server with one connection, which was opened by the engine's loop.
    struct Open {
        let server: LocalServer
        let queue = EventQueue()
        let websocket: WebSocket
        let peer: Int32

        init() throws {
            server = try LocalServer()
            websocket = try server.websocket(queue)
            peer = try Self.connect(websocket, to: server)
            try waitForEvents([WS_EVENT_OPEN])
        }

        static func connect(_ websocket: WebSocket, to server: LocalServer) throws -> Int32 {
            try websocket.connect()
            let peer = try server.accept()
            try LocalServer.answer(try LocalServer.readRequest(from: peer), to: peer)
            return peer
        }

        /// Waits, without running the loop here, until exactly these events are queued; then removes them.
        func waitForEvents(_ types: [Int]) throws {
            let limit = now() + Nanoseconds(seconds: 10)
            while queue.count < types.count, now() < limit { sched_yield() }
            let found = queue.takeTypes()
            try #require(found == types, "\(found)")
        }

        /// The peer gets a pong, with a mask, for its ping.
        func exchangePing() throws {
            try LocalServer.send([0x89, 0], to: peer)
            try #require(try LocalServer.receive(6, from: peer).prefix(2) == [0x8A, 0x80])
            try waitForEvents([WS_EVENT_PING])
        }
    }

    /// Numbers of the process's epoll descriptors: the engine's, and others that the tests' library may have.
    static func epollDescriptors() -> [Int32] { descriptors("anon_inode:[eventpoll]") }

    /// Datagram sockets with an address of their own: `ws_make_wakeup`.
    static func wakeUps() -> [Int32] {
        descriptors("socket:").filter { number in
            var type: Int32 = 0
            var size = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(number, SOL_SOCKET, SO_TYPE, &type, &size)
            var address = sockaddr_un()
            size = socklen_t(MemoryLayout<sockaddr_un>.size)
            return type == Int32(SOCK_DGRAM.rawValue)
                && withUnsafeMutableBytes(of: &address) {
                    getpeername(number, $0.assumingMemoryBound(to: sockaddr.self).baseAddress, &size)
                } == 0
        }
    }

    /// - Parameter kind: how its target in /proc/self/fd begins.
    static func descriptors(_ kind: String) -> [Int32] {
        (0..<1024 as Range<Int32>).filter { number in
            var target = [UInt8](repeating: 0, count: 64)
            let count = target.withUnsafeMutableBytes {
                readlink("/proc/self/fd/\(number)", $0.baseAddress!, $0.count)
            }
            return target.prefix(max(count, 0)).starts(with: kind.utf8)
        }
    }

    @Test func oneEngineServesAllQueues() async {
        await #expect(processExitsWith: .success) {
            let others = Self.epollDescriptors()
            try #require(Engine.withCurrent { $0 } == nil)
            let first = try Engine.startedIfNeeded(for: EventQueue())
            let second = try Engine.startedIfNeeded(for: EventQueue())
            try #require(first === second && Engine.withCurrent { $0 } === first)
            try #require(Self.epollDescriptors().count == others.count + 1)
        }
    }

    @Test func theLoopRunsWithoutAScript() async {
        await #expect(processExitsWith: .success) {
            let open = try Open()
            for _ in 0..<3 { try open.exchangePing() }
        }
    }

    @Test func theScriptAnswersTheQuestionBeforeAnAttempt() async {
        await #expect(processExitsWith: .success) {
            let server = try LocalServer()
            let queue = EventQueue()
            let websocket = try server.websocket(queue) { $0.asksBeforeAttempt = true }
            func question() throws -> UInt32 {
                queue.wait(until: now().seconds + 10, nil)
                let events = queue.takeEvents().events
                try #require(events.map(\.name) == ["ATTEMPT"])
                return UInt32(try #require(events[0].integer("question")))
            }
            // Declined: the websocket ends, and may be started again at once.
            try websocket.connect()
            let first = try question()
            try #require(!websocket.decline(first + 1))
            try #require(websocket.decline(first))
            try #require(websocket.state == .closed && !websocket.decline(first))
            try websocket.connect()
            queue.wait(until: now().seconds + 10, nil)
            while queue.count < 2 { sched_yield() }
            let events = queue.takeEvents().events
            try #require(events.map(\.name) == ["ENDED!", "ATTEMPT"])
            let second = UInt32(try #require(events[1].integer("question")))
            websocket.answer(first, .go)
            websocket.answer(second, .go)
            let peer = try server.accept()
            try LocalServer.answer(try LocalServer.readRequest(from: peer), to: peer)
            queue.wait(until: now().seconds + 10, nil)
            try #require(queue.takeTypes() == [WS_EVENT_OPEN])
        }
    }

    @Test func aScriptRunsTheLoopAndReleasesIt() async {
        await #expect(processExitsWith: .success) {
            let open = try Open()
            let engine = try #require(Engine.withCurrent { $0 })
            try LocalServer.send([0x81, 1, 0x61], to: open.peer)
            let limit = now() + Nanoseconds(seconds: 10)
            while open.queue.isEmpty {
                try #require(engine.runLoopForScript(open.queue, until: limit, nil) && now() < limit)
            }
            try open.waitForEvents([WS_EVENT_TEXT])
            // The loop's thread has it again.
            try open.exchangePing()
        }
    }

    @Test func whileAScriptRunsTheLoopNoOtherCan() async {
        await #expect(processExitsWith: .success) {
            let open = try Open()
            let engine = try #require(Engine.withCurrent { $0 })
            let other = EventQueue()
            let hasEnded = DispatchSemaphore(value: 0)
            try startThread {
                Fork.whileAllowed {
                    while !engine.runLoopForScript(other, until: .max, nil) {}
                }
                hasEnded.signal()
            }
            let limit = now() + Nanoseconds(seconds: 10)
            while engine.runLoopForScript(open.queue, until: 0, nil) { try #require(now() < limit) }
            // It runs there: nothing else answers.
            try open.exchangePing()
            try #require(hasEnded.wait(timeout: .now()) == .timedOut)
            var records = EventRecords()
            records.append(line: "the end", socket: 0)
            other.publish(&records)
            engine.post(.flush(open.websocket))
            try #require(hasEnded.wait(timeout: .now() + 10) == .success)
            try open.exchangePing()
        }
    }

    @Test func withoutEpollItEndsAndTheNextConnectMakesAnother() async {
        await #expect(processExitsWith: .success) {
            let others = Self.epollDescriptors()
            let open = try Open()
            let engine = try #require(Engine.withCurrent { $0 })
            for number in Self.epollDescriptors() where !others.contains(number) { try replaceDescriptor(number) }
            engine.post(.flush(open.websocket))
            try open.waitForEvents([WS_EVENT_ERROR, WS_EVENT_CLOSE])
            try #require(open.websocket.state == .closed)
            try #require(Engine.withCurrent { $0 } == nil)
            let peer = try Open.connect(open.websocket, to: open.server)
            try open.waitForEvents([WS_EVENT_OPEN])
            let next = try #require(Engine.withCurrent { $0 })
            try #require(next !== engine && peer >= 0)
        }
    }

    @Test func atTheEndOfTheProcessMessagesLeaveAndNothingIsStarted() async {
        await #expect(processExitsWith: .success) {
            let open = try Open()
            var random = RandomPool()
            let result = Array("last".utf8).withUnsafeBytes { bytes in
                withUnsafePointer(to: bytes) {
                    open.websocket.send(
                        .text, UnsafeBufferPointer(start: $0, count: 1), random: &random, directly: false)
                }
            }
            try #require(result == .sent)
            let peer = open.peer
            let wereReceived = DispatchSemaphore(value: 0)
            try startThread {
                // A text of 4 bytes and a Close of 2, each with a mask.
                guard let message = try? LocalServer.receive(10, from: peer), message.prefix(2) == [0x81, 0x84],
                    let closing = try? LocalServer.receive(8, from: peer), closing.prefix(2) == [0x88, 0x82]
                else { return }
                wereReceived.signal()
                try? LocalServer.send([0x88, 2, 0x03, 0xE9], to: peer)
                shutdown(peer, Int32(SHUT_WR))
            }
            let start = now()
            Engine.shutDown(seconds: 10)
            try #require(now() - start < Nanoseconds(seconds: 9))
            try #require(wereReceived.wait(timeout: .now()) == .success)
            try #require(Engine.withCurrent { $0 } == nil)
            #expect(throws: SystemError("the process ends", ECANCELED)) { try open.websocket.connect() }
        }
    }

    @Test func aPeerThatDoesNotAnswerDelaysTheEndNoLongerThanAsked() async {
        await #expect(processExitsWith: .success) {
            let open = try Open()
            let start = now()
            Engine.shutDown(seconds: 0.1)
            try #require(now() - start >= Nanoseconds(seconds: 0.1))
            var byte: UInt8 = 0
            // Its socket is closed with the loop, behind the Close.
            while read(open.peer, &byte, 1) > 0 {}
            try #require(errno != EAGAIN)
        }
    }

    /// Dispatch limits the threads of its global queues, and of serial queues of one quality of service.
    @Test func theLoopGetsAThreadWhileAHostsQueuesAreBusy() async {
        await #expect(processExitsWith: .success) {
            let block = DispatchSemaphore(value: 0)
            for _ in 0..<300 { DispatchQueue.global().async { block.wait() } }
            for number in 0..<300 { DispatchQueue(label: "\(number)").async { block.wait() } }
            let open = try Open()
            try open.exchangePing()
        }
    }
}
