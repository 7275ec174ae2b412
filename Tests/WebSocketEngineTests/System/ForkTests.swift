import CLinux
import Dispatch
import Glibc
import Synchronization
import Testing

@testable import WebSocketEngine

/// Set by the tests' processes, which have one fork each.
private let isForking = Atomic(false)
private let hasForked = Atomic(false)
private let isDone = Atomic(false)

/// Swift does not import fork.
private func forkProcess() -> pid_t {
    typealias Fork = @convention(c) () -> pid_t
    return unsafeBitCast(dlsym(nil, "fork"), to: Fork.self)()
}

/// A test with a process of its own: a fork that waits for ever ends it.
private func prepareToFork() {
    ws_start_counting_forks()
    // Called before the module's own handler.
    pthread_atfork({ isForking.store(true, ordering: .sequentiallyConsistent) }, nil, nil)
    alarm(20)
}

/// Forks. Returns whether `isDone` was set at that moment, as the child sees it.
private func isDoneInChild() -> Bool {
    let child = forkProcess()
    if child == 0 { _exit(isDone.load(ordering: .sequentiallyConsistent) ? 0 : 1) }
    hasForked.store(true, ordering: .sequentiallyConsistent)
    var status: Int32 = -1
    waitpid(child, &status, 0)
    return status == 0
}

/// Returns once the thread waits in fork, or has forked.
private func awaitFork(by thread: String) {
    while !isForking.load(ordering: .sequentiallyConsistent) { sched_yield() }
    while !hasForked.load(ordering: .sequentiallyConsistent), !isAsleep(thread) { sched_yield() }
}

/// Runs `body` on another thread, from which it calls the closure it is given when a fork may begin.
private func onAnotherThread(_ body: @escaping @Sendable (_ mayFork: () -> Void) -> Void) throws {
    let mayFork = DispatchSemaphore(value: 0)
    try startThread { Fork.whileAllowed { body { mayFork.signal() } } }
    mayFork.wait()
}

/// In a test's own process, every expectation is a precondition.
@Suite struct ForkTests {
    @Test func forkWaitsForTheEndOfATurn() async {
        await #expect(processExitsWith: .success) {
            prepareToFork()
            let forker = threadFolder()
            try onAnotherThread { mayFork in
                ws_begin_turn()
                mayFork()
                awaitFork(by: forker)
                isDone.store(true, ordering: .sequentiallyConsistent)
                ws_end_turn()
            }
            precondition(isDoneInChild())
        }
    }

    @Test func forkWaitsForWhoBlocksIt() async {
        await #expect(processExitsWith: .success) {
            prepareToFork()
            let forker = threadFolder()
            try onAnotherThread { mayFork in
                Fork.whileBlocked {
                    // It may be nested.
                    Fork.whileBlocked {}
                    mayFork()
                    awaitFork(by: forker)
                    isDone.store(true, ordering: .sequentiallyConsistent)
                }
            }
            precondition(isDoneInChild())
        }
    }

    @Test func forkDoesNotWaitWhereItIsAllowed() async {
        await #expect(processExitsWith: .success) {
            prepareToFork()
            try onAnotherThread { mayFork in
                Fork.whileBlocked {
                    Fork.whileAllowed {
                        mayFork()
                        while !hasForked.load(ordering: .sequentiallyConsistent) { sched_yield() }
                    }
                    isDone.store(true, ordering: .sequentiallyConsistent)
                }
            }
            precondition(!isDoneInChild())
        }
    }

    @Test func aThreadBlocksForksFromItsStart() async {
        await #expect(processExitsWith: .success) {
            prepareToFork()
            let forker = threadFolder()
            let mayFork = DispatchSemaphore(value: 0)
            try startThread {
                mayFork.signal()
                awaitFork(by: forker)
                isDone.store(true, ordering: .sequentiallyConsistent)
            }
            mayFork.wait()
            precondition(isDoneInChild())
        }
    }

    /// It must not, but the process does not hang.
    @Test func aSignalHandlerThatForksDoesNotWaitForItsOwnThread() async {
        await #expect(processExitsWith: .success) {
            prepareToFork()
            // The tests' threads block signals.
            var none = sigset_t()
            sigemptyset(&none)
            pthread_sigmask(SIG_SETMASK, &none, nil)
            signal(SIGUSR1) { _ in isDone.store(!isDoneInChild(), ordering: .sequentiallyConsistent) }
            ws_begin_turn()
            raise(SIGUSR1)
            ws_end_turn()
            precondition(isDone.exchange(false, ordering: .sequentiallyConsistent))
            Fork.whileBlocked { _ = raise(SIGUSR1) }
            precondition(isDone.exchange(false, ordering: .sequentiallyConsistent))
            // The locks are free again.
            precondition(!isDoneInChild())
            precondition(Fork.generation == 0)
        }
    }
}
