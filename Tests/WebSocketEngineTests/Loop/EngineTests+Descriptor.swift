import CEvents
import CLinux
import Dispatch
import Glibc
import Synchronization
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

/// A script that waits in a loop of the host: for its descriptor.
extension EngineTests {
    /// The test's thread is the script's.
    private struct Script {
        let open: Open
        let number: Int32

        init() throws {
            open = try Open()
            number = try open.queue.descriptor()
        }

        /// What `websocket.poll` does. Returns the number of events.
        func poll() -> Int {
            open.queue.runLoopWithoutWaiting()
            let count = open.queue.takeTypes().count
            if count > 0 { open.queue.show(false) }
            open.queue.show(false)
            return count
        }

        /// Waits for the descriptor and polls, until there is an event.
        func waitForEvent() throws {
            let limit = now() + Nanoseconds(seconds: 10)
            repeat { try #require(isReadable(number, within: 10) && now() < limit) } while poll() == 0
        }

        /// The events of the engine's epoll descriptor that the descriptor reports, in hexadecimal; 18, EPOLLERR and EPOLLHUP,
        /// are always among them.
        func reportedEvents() throws -> [Substring] {
            let file = Glibc.open("/proc/self/fdinfo/\(number)", O_RDONLY)
            defer { close(file) }
            var text = [UInt8](repeating: 0, count: 4096)
            let count = read(file, &text, text.count)
            try #require(count > 0)
            let engines = epollDescriptors().map { "\($0)" }
            return String(decoding: text[..<count], as: UTF8.self).split(separator: "\n").compactMap { line in
                // tfd: NUMBER events: BITS data: …
                let words = line.split(separator: " ")
                return words[0] == "tfd:" && engines.contains(String(words[1])) ? words[3] : nil
            }
        }

        func ping() throws { try LocalServer.send([0x89, 0], to: open.peer) }

        func receivePong() throws { _ = try LocalServer.receive(6, from: open.peer) }

        /// The loop is the scripts', and nobody runs it. Returns false if the loop thread has it again, which takes 20 ms.
        func leaveLoopToScripts() throws -> Bool {
            try ping()
            try receivePong()
            try waitForEvent()
            try ping()
            try receivePong()
            try waitForEvent()
            _ = poll()
            return !isReadable(number)
        }
    }

    @Test func eachEventMakesTheDescriptorReadable() async {
        await #expect(processExitsWith: .success) {
            let script = try Script()
            for _ in 0..<1000 {
                try script.ping()
                try script.waitForEvent()
                try script.receivePong()
            }
            _ = script.poll()
            try #require(!isReadable(script.number))
        }
    }

    @Test func withADescriptorBeforeTheFirstConnect() async {
        await #expect(processExitsWith: .success) {
            let queue = EventQueue()
            let number = try queue.descriptor()
            let server = try LocalServer()
            let websocket = try server.websocket(queue)
            let peer = try Open.connect(websocket, to: server)
            let limit = now() + Nanoseconds(seconds: 10)
            for _ in 0..<100 {
                while queue.isEmpty {
                    try #require(isReadable(number, within: 10) && now() < limit)
                    queue.runLoopWithoutWaiting()
                    if queue.isEmpty { queue.show(false) }
                }
                _ = queue.takeTypes()
                queue.show(false)
                try LocalServer.send([0x89, 0], to: peer)
            }
        }
    }

    /// The script's thread does the work: the loop's part makes the descriptor readable, not an event of another thread.
    @Test func aScriptServesItsSocketsItself() async {
        await #expect(processExitsWith: .success) {
            let script = try Script()
            var served = 0
            // A thread that is not scheduled for 20 ms loses the loop.
            for _ in 0..<200 where try script.leaveLoopToScripts() {
                try script.ping()
                try #require(isReadable(script.number, within: 10))
                if script.open.queue.isEmpty { served += 1 }
                try script.waitForEvent()
                try script.receivePong()
            }
            try #require(served > 100, "\(served)")
        }
    }

    /// Reads and writes of this thread, which do not count those of sockets.
    private static func readsAndWrites() throws -> Int {
        let file = open("/proc/thread-self/io", O_RDONLY)
        defer { close(file) }
        var text = [UInt8](repeating: 0, count: 512)
        let count = read(file, &text, text.count)
        try #require(count > 0)
        var sum = 0
        for line in String(decoding: text[..<count], as: UTF8.self).split(separator: "\n")
        where line.hasPrefix("syscr: ") || line.hasPrefix("syscw: ") {
            sum += try #require(Int(line.dropFirst(7)))
        }
        return sum
    }

    @Test func inASteadyConversationNoWakeUpIsUsed() async {
        await #expect(processExitsWith: .success) {
            let script = try Script()
            let before = try Self.readsAndWrites()
            for _ in 0..<2000 {
                try script.ping()
                try script.waitForEvent()
                try script.receivePong()
            }
            // Some, each time that the loop thread has taken the loop meanwhile.
            let count = try Self.readsAndWrites() - before
            try #require(count < 200, "\(count)")
        }
    }

    /// A command is executed by the script's thread, not after a millisecond by the loop thread.
    @Test func aCommandMakesTheDescriptorReadable() async {
        await #expect(processExitsWith: .success) {
            var fastest = Nanoseconds.max
            for _ in 0..<20 {
                let script = try Script()
                _ = try script.leaveLoopToScripts()
                let start = now()
                script.open.websocket.close(CloseFrame(code: .goingAway))
                try #require(isReadable(script.number, within: 10))
                _ = script.poll()
                if LocalServer.isReadable(script.open.peer) { fastest = min(fastest, now() - start) }
            }
            try #require(fastest < Nanoseconds(seconds: 0.0005), "\(fastest)")
        }
    }

    /// The script does not spin until the loop thread runs.
    @Test func aStreamIsTheLoopThreads() async {
        await #expect(processExitsWith: .success) {
            let script = try Script()
            let engine = try #require(Engine.withCurrent { $0 })
            let count = 2000
            let message = [0x82, 126, 0x03, 0xE8] + [UInt8](repeating: 0, count: 1000)
            let messages = [UInt8]((0..<count).flatMap { _ in message })
            let peer = script.open.peer
            var streams = 0
            // Fewer bytes than maxqueued.
            for _ in 0..<6 {
                _ = try script.leaveLoopToScripts()
                DispatchQueue(label: "peer", qos: .userInteractive).async { try? LocalServer.send(messages, to: peer) }
                var received = 0
                while received < count {
                    try #require(isReadable(script.number, within: 10))
                    received += script.poll()
                    guard engine.ownership.isStreaming else { continue }
                    streams += 1
                    try #require(try script.reportedEvents() == ["18"])
                }
            }
            try #require(streams > 0)
        }
    }

    /// While the loop thread reads a stream, the script sleeps until there are events.
    @Test func theDescriptorSleepsWhileTheLoopThreadWorks() async {
        await #expect(processExitsWith: .success) {
            let script = try Script()
            _ = script.poll()
            // The first may come before the loop thread has left the loop; when it answers the second, it has it again.
            for _ in 0..<2 { try script.open.exchangePing() }
            try #require(try script.reportedEvents() == ["18"])
            // A header without its payload is work, but no event.
            script.open.queue.show(false)
            try LocalServer.send([0x82, 126, 0x01, 0x00], to: script.open.peer)
            for _ in 0..<255 { try LocalServer.send([1], to: script.open.peer) }
            try #require(!isReadable(script.number, within: 0.2))
            try LocalServer.send([1], to: script.open.peer)
            try script.waitForEvent()
        }
    }

    /// The host has closed all that it does not know. The next engine gets the same numbers.
    @Test func theDescriptorOutlivesTheEngine() async {
        await #expect(processExitsWith: .success) {
            // Dispatch has timers, too: it makes one at any time.
            func descriptors() -> [Int32] {
                let timers = EngineTests.descriptors("anon_inode:[timerfd]").filter { number in
                    var setting = itimerspec()
                    return timerfd_gettime(number, &setting) == 0 && setting.it_interval.tv_sec > 0
                }
                return timers + EngineTests.epollDescriptors() + EngineTests.wakeUps()
            }
            let others = descriptors()
            let open = try Open()
            let engines = descriptors().filter { !others.contains($0) }
            let number = try open.queue.descriptor()
            open.queue.show(false)
            for number in engines { try replaceDescriptor(number) }
            Engine.withCurrent { $0 }?.post(.flush(open.websocket))
            try #require(isReadable(number, within: 10))
            try open.waitForEvents([WS_EVENT_ERROR, WS_EVENT_CLOSE])
            open.queue.show(false)
            try #require(!isReadable(number))
            for number in engines { close(number) }
            let peer = try Open.connect(open.websocket, to: open.server)
            try #require(Set(engines).isSubset(of: descriptors()))
            var served = 0
            let limit = now() + Nanoseconds(seconds: 10)
            while served < 20 {
                try #require(isReadable(number, within: 10) && now() < limit)
                let isWork = open.queue.isEmpty
                open.queue.runLoopWithoutWaiting()
                guard !open.queue.takeTypes().isEmpty else { continue }
                open.queue.show(false)
                if isWork { served += 1 }
                try LocalServer.send([0x89, 0], to: peer)
            }
        }
    }

    /// A failed engine's epoll descriptor stays open. Its timer fires later, and nobody resets it.
    @Test func aFailedEngineDoesNotMakeTheDescriptorReadable() async {
        await #expect(processExitsWith: .success) {
            let others = Self.wakeUps()
            let server = try LocalServer()
            let queue = EventQueue()
            let websocket = try server.websocket(queue) { $0.pingInterval = 0.05 }
            let peer = try Open.connect(websocket, to: server)
            let engines = Self.wakeUps().filter { !others.contains($0) }
            let number = try queue.descriptor()
            try #require(isReadable(number, within: 10))
            // Has the loop thread leave the loop; the second call waits for that.
            for _ in 0..<2 { queue.runLoopWithoutWaiting() }
            try #require(queue.takeTypes() == [WS_EVENT_OPEN])
            queue.runLoopWithoutWaiting()
            for number in engines { try replaceDescriptor(number) }
            let limit = now() + Nanoseconds(seconds: 10)
            while queue.count < 2 {
                websocket.close(CloseFrame(code: .goingAway))
                try #require(now() < limit)
            }
            try #require(Engine.withCurrent { $0 } == nil)
            try #require(queue.takeTypes() == [WS_EVENT_ERROR, WS_EVENT_CLOSE])
            queue.show(false)
            try #require(!isReadable(number, within: 0.2) && peer >= 0)
        }
    }

    @Test func severalScriptsHaveDescriptors() async {
        await #expect(processExitsWith: .success) {
            let completed = Atomic(0)
            DispatchQueue.concurrentPerform(iterations: 3) { _ in
                do {
                    let script = try Script()
                    for _ in 0..<500 {
                        try script.ping()
                        try script.waitForEvent()
                        try script.receivePong()
                    }
                    completed.add(1, ordering: .relaxed)
                } catch {}
            }
            try #require(completed.load(ordering: .relaxed) == 3)
        }
    }
}
