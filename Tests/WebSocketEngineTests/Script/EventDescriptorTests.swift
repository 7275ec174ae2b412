import CLinux
import Dispatch
import Glibc
import Synchronization
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

/// Without an engine. With one: EngineTests+Descriptor.swift.
@Suite struct EventDescriptorTests {
    private let queue = EventQueue()

    private static func publish(to queue: EventQueue) {
        var records = EventRecords()
        records.append(line: "an event", socket: 0)
        queue.publish(&records)
    }

    private func publish() { Self.publish(to: queue) }

    private func take() -> Int { queue.takeTypes().count }

    private func wakeup() -> Int32 { queue.shared.withLock { $0.openWakeup } }

    private func signalCount() -> Int {
        var count = 0
        while ws_clear_wakeup(wakeup()) != 0 { count += 1 }
        return count
    }

    // MARK: - Events

    @Test func isReadableExactlyWhileEventsWait() throws {
        let number = try queue.descriptor()
        #expect(!isReadable(number))
        for _ in 0..<3 {
            publish()
            #expect(isReadable(number) && isReadable(number))
            #expect(take() == 1)
            // Lua has fetched two records, and delivers the first.
            queue.show(true)
            #expect(isReadable(number))
            queue.show(false)
            #expect(!isReadable(number) && !isReadable(number))
        }
        publish()
        queue.show(false)
        #expect(isReadable(number))
        // From fetched, undelivered records only.
        #expect(take() == 1)
        queue.show(false)
        queue.show(true)
        #expect(isReadable(number))
        queue.show(false)
        #expect(!isReadable(number))
    }

    @Test func eventsOfTheTimeBeforeCount() throws {
        publish()
        let number = try queue.descriptor()
        #expect(isReadable(number))
        #expect(take() == 1)
        queue.show(false)
        #expect(!isReadable(number))
    }

    @Test func whatLuasThreadPublishesWhileItRunsTheLoopIsNotSignalled() throws {
        let number = try queue.descriptor()
        queue.isRunningLoop.store(true, ordering: .relaxed)
        publish()
        queue.isRunningLoop.store(false, ordering: .relaxed)
        #expect(!isReadable(number))
        // Not all of it may have been taken.
        queue.show(false)
        #expect(isReadable(number))
        #expect(take() == 1)
        queue.show(false)
        publish()
        #expect(isReadable(number))
    }

    @Test func theWakeUpIsSignalledOnce() throws {
        _ = try queue.descriptor()
        for _ in 0..<5 { publish() }
        for _ in 0..<5 { queue.show(true) }
        #expect(signalCount() == 1)
    }

    @Test func withoutADescriptorNothingIsSignalled() throws {
        queue.show(true)
        publish()
        #expect(wakeup() == -1 && queue.signal.load(ordering: .relaxed) == .unused)
        queue.wait(until: 0, nil)
        publish()
        #expect(queue.signal.load(ordering: .relaxed) == .unused)
    }

    /// A script may also wait in `poll`, which clears the wake-up.
    @Test func isRightAfterAWaitInPoll() throws {
        let number = try queue.descriptor()
        // An event can come.
        queue.websocketStarted(WebSocket(Options(), queue: queue, id: 1))
        defer { queue.endWebsockets("the test has ended") }
        queue.show(true)
        let start = now()
        queue.wait(until: (start + Nanoseconds(seconds: 0.02)).seconds, nil)
        #expect(now() - start >= Nanoseconds(seconds: 0.02))
        #expect(!isReadable(number))
        publish()
        #expect(isReadable(number))
    }

    private final class Rounds: Sendable {
        static let count = 200_000
        let queue = EventQueue()
        let taken = Atomic(0)
        let hasFailed = Atomic(false)
    }

    /// The next record may come at any point between `take` and the wait.
    @Test func noWakeUpIsLost() throws {
        let rounds = Rounds()
        let number = try rounds.queue.descriptor()
        DispatchQueue(label: "publisher", qos: .userInteractive).async {
            for round in 0..<Rounds.count {
                while rounds.taken.load(ordering: .acquiring) < round {
                    if rounds.hasFailed.load(ordering: .relaxed) { return }
                    sched_yield()
                }
                Self.publish(to: rounds.queue)
            }
        }
        var wakeUps = 0
        while rounds.taken.load(ordering: .relaxed) < Rounds.count {
            guard isReadable(number, within: 10) else {
                rounds.hasFailed.store(true, ordering: .relaxed)
                Issue.record("not readable in round \(rounds.taken.load(ordering: .relaxed))")
                return
            }
            wakeUps += 1
            let count = rounds.queue.takeTypes().count
            rounds.taken.add(count, ordering: .releasing)
            rounds.queue.show(false)
        }
        // None is without a reason.
        #expect(wakeUps <= Rounds.count)
        #expect(!isReadable(number))
    }

    // MARK: - The timer

    @Test func isReadableWhileTheTimerIsDue() throws {
        // Set before the script asks for the descriptor.
        let start = now()
        queue.setTimer((start + Nanoseconds(seconds: 0.03)).seconds)
        let number = try queue.descriptor()
        #expect(isReadable(number, within: 10))
        #expect(now() >= start + Nanoseconds(seconds: 0.03))
        queue.show(false)
        #expect(isReadable(number))
        queue.setTimer(.infinity)
        #expect(!isReadable(number))
        queue.setTimer(0)
        #expect(isReadable(number))
        queue.setTimer((now() + Nanoseconds(seconds: 3600)).seconds)
        #expect(!isReadable(number))
        publish()
        #expect(isReadable(number))
    }

    // MARK: - The engine's epoll descriptor

    @Test func isReadableWhileTheLoopHasWork() throws {
        let wakeup = FileDescriptor(ws_make_wakeup())
        let loop = try CommandQueue(try LoopOwnership())
        var poller = try Poller()
        _ = try poller.add(loop.wakeup, slot: 0, .read)
        var descriptor = try EventDescriptor(wakeup: wakeup.number)
        let number = descriptor.number
        ws_signal_wakeup(loop.wakeup.number)
        #expect(!isReadable(number))
        for _ in 0..<2 { try descriptor.addLoop(poller.descriptorNumber) }
        #expect(isReadable(number))
        descriptor.reportLoop(false)
        #expect(!isReadable(number))
        descriptor.reportLoop(true)
        #expect(isReadable(number))
        loop.didWake(signalled: true)
        #expect(!isReadable(number))
        ws_signal_wakeup(loop.wakeup.number)
        #expect(isReadable(number))
        descriptor.removeLoop()
        #expect(!isReadable(number))
        descriptor.reportLoop(true)
        #expect(!isReadable(number))
        try descriptor.addLoop(poller.descriptorNumber)
        #expect(isReadable(number))
    }

    // MARK: - Numbers

    @Test func isAlwaysTheSameNumber() throws {
        let number = try queue.descriptor()
        for _ in 0..<3 {
            publish()
            #expect(try queue.descriptor() == number && isReadable(number))
        }
        // A callback asks for it while fetched records remain.
        _ = take()
        queue.show(true)
        #expect(try queue.descriptor() == number && isReadable(number))
        queue.show(false)
        #expect(try queue.descriptor() == number && !isReadable(number))
    }

    @Test(arguments: [true, false]) func aNumberThatTheHostHasClosedIsReplaced(isWakeUp: Bool) throws {
        let first = try queue.descriptor()
        queue.setTimer(0)
        let closed = isWakeUp ? wakeup() : first
        try replaceDescriptor(closed)
        defer { close(closed) }
        let second = try queue.descriptor()
        #expect(second != first || isWakeUp)
        #expect(isReadable(second))
        queue.setTimer(.infinity)
        #expect(!isReadable(second))
        publish()
        #expect(isReadable(second))
        #expect(take() == 1)
        queue.show(false)
        #expect(!isReadable(second))
    }

    /// All epoll descriptors have the same inode.
    @Test func anEpollDescriptorOfTheHostWithTheNumberIsLeftAlone() throws {
        let own = epoll_create1(Int32(EPOLL_CLOEXEC))
        let mine: Int32
        do {
            let queue = EventQueue()
            mine = try queue.descriptor()
            try #require(dup2(own, mine) == mine)
            let another = try queue.descriptor()
            #expect(another != mine)
        }
        // Open, and nothing was added.
        var events = [epoll_event](repeating: epoll_event(), count: 1)
        #expect(epoll_wait(mine, &events, 1, 0) == 0)
        close(mine)
        close(own)
    }

    @Test func isClosedWithTheLuaState() async {
        await #expect(processExitsWith: .success) {
            let queue = EventQueue()
            let number = try queue.descriptor()
            try #require(fcntl(number, F_GETFD) == FD_CLOEXEC)
            var event = epoll_event()
            let added = eventfd(0, Int32(EFD_CLOEXEC))
            try #require(epoll_ctl(number, EPOLL_CTL_ADD, added, &event) == 0)
            queue.shut()
            // The number may belong to another thread's descriptor by now.
            try #require(epoll_ctl(number, EPOLL_CTL_MOD, added, &event) == -1)
            queue.show(true)
            queue.setTimer(0)
        }
    }

    /// The epoll set is one for both processes; the child leaves it alone.
    @Test func aForkedChildMakesItsOwn() async {
        await #expect(processExitsWith: .success) {
            // Swift hides it.
            typealias Fork = @convention(c) () -> pid_t
            let fork = unsafeBitCast(try #require(dlsym(nil, "fork")), to: Fork.self)
            let queue = EventQueue()
            let number = try queue.descriptor()
            let child = fork()
            if child == 0 {
                queue.reset()
                queue.show(true)
                guard !isReadable(number), let own = try? queue.descriptor(), own != number else { _exit(1) }
                guard !isReadable(own) else { _exit(2) }
                Self.publish(to: queue)
                guard isReadable(own), !isReadable(number) else { _exit(3) }
                queue.shut()
                _exit(0)
            }
            var status: Int32 = -1
            try #require(retrying { Int(waitpid(child, &status, 0)) } == Int(child) && status == 0, "\(status)")
            try #require(!isReadable(number))
            Self.publish(to: queue)
            try #require(isReadable(number))
            let same = try queue.descriptor()
            try #require(same == number && queue.takeTypes().count == 1)
            queue.show(false)
            try #require(!isReadable(number))
        }
    }

    @Test func withoutDescriptorsTheReasonIsThrown() async {
        await #expect(processExitsWith: .success) {
            var files: [Int32] = []
            repeat { files.append(open("/dev/null", O_RDONLY)) } while files.last! >= 0
            for free in 0..<3 {
                if free > 0 { close(files[free]) }
                let queue = EventQueue()
                #expect(throws: SystemError.self) { try queue.descriptor() }
                try #require(!queue.hasDescriptor)
            }
            close(files[0])
            let queue = EventQueue()
            let number = try queue.descriptor()
            Self.publish(to: queue)
            try #require(isReadable(number))
        }
    }
}
