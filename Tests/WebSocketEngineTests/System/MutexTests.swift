import CLinux
import Glibc
import Synchronization
import Testing

@testable import WebSocketEngine

@Suite struct MutexTests {
    private final class Counter: Sendable {
        static let threads = 4
        static let rounds = 50_000
        let count = WebSocketEngine.Mutex(0)
        let prompts = Atomic(0)
        let running = Atomic(threads)
    }

    /// Runs `body` on some threads at once, until all are through.
    private func together(_ body: @escaping @Sendable (Counter) -> Void) throws -> Counter {
        let counter = Counter()
        for _ in 0..<Counter.threads {
            try startThread {
                body(counter)
                counter.running.subtract(1, ordering: .sequentiallyConsistent)
            }
        }
        while counter.running.load(ordering: .sequentiallyConsistent) > 0 { sched_yield() }
        return counter
    }

    @Test func oneThreadAtATimeAndNoneIsForgotten() throws {
        let counter = try together { counter in
            for _ in 0..<Counter.rounds {
                counter.count.withLock { count in
                    // Read and written apart, now and then with the processor left to others between.
                    let before = count
                    if before % 1000 == 0 { sched_yield() }
                    count = before + 1
                }
            }
        }
        #expect(counter.count.withLock { $0 } == Counter.threads * Counter.rounds)
    }

    @Test func whoHasToWaitSaysSoBefore() throws {
        let counter = Counter()
        try counter.count.withLock { (count) throws(SystemError) in
            try startThread {
                counter.count.withLock(
                    ifContended: {
                        counter.prompts.add(1, ordering: .sequentiallyConsistent)
                        return true
                    }, { $0 += 1 })
                counter.running.store(0, ordering: .sequentiallyConsistent)
            }
            let deadline = now() + Nanoseconds(seconds: 10)
            while counter.prompts.load(ordering: .sequentiallyConsistent) == 0, now() < deadline { sched_yield() }
            #expect(counter.prompts.load(ordering: .sequentiallyConsistent) == 1)
            #expect(count == 0)
        }
        while counter.running.load(ordering: .sequentiallyConsistent) > 0 { sched_yield() }
        #expect(counter.count.withLock { $0 } == 1)
        // Nobody has it: nothing is said.
        counter.count.withLock(
            ifContended: {
                counter.prompts.add(1, ordering: .sequentiallyConsistent)
                return true
            }, { _ in })
        #expect(counter.prompts.load(ordering: .sequentiallyConsistent) == 1)
    }

    /// The tests are debug builds, in which a wrong order ends the process.
    @Test func locksAreTakenInOneOrder() async {
        await #expect(processExitsWith: .success) {
            let outer = WebSocketEngine.Mutex((), level: .outer)
            let inner = WebSocketEngine.Mutex(())
            outer.withLock { _ in
                Fork.whileBlocked { inner.withLock { _ in } }
                inner.withLock { _ in }
            }
            inner.withLock { _ in }
            outer.withLock { _ in }
        }
        await #expect(processExitsWith: .failure) {
            let outer = WebSocketEngine.Mutex((), level: .outer)
            WebSocketEngine.Mutex(()).withLock { _ in outer.withLock { _ in } }
        }
        await #expect(processExitsWith: .failure) {
            let inner = WebSocketEngine.Mutex(())
            WebSocketEngine.Mutex(()).withLock { _ in inner.withLock { _ in } }
        }
        await #expect(processExitsWith: .failure) {
            let outer = WebSocketEngine.Mutex((), level: .outer)
            Fork.whileBlocked { outer.withLock { _ in } }
        }
        await #expect(processExitsWith: .failure) {
            WebSocketEngine.Mutex(()).withLock { _ in Fork.whileBlocked {} }
        }
        await #expect(processExitsWith: .failure) {
            ws_begin_turn()
            Fork.whileBlocked {}
        }
    }

    @Test func isFreeAfterAnError() {
        struct Failure: Error {}
        let mutex = WebSocketEngine.Mutex(1)
        #expect(throws: Failure.self) { try mutex.withLock { (_) throws(Failure) in throw Failure() } }
        #expect(mutex.withLock { $0 } == 1)
    }
}
