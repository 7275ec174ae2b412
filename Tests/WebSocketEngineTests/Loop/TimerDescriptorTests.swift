import CLinux
import Dispatch
import Glibc
import Testing

@testable import WebSocketEngine

@Suite struct TimerDescriptorTests {
    @Test func isReadableFromItsTimeOnUntilItIsSetAnew() throws {
        let timer = try TimerDescriptor()
        #expect(!isReadable(timer.number))
        let start = now()
        timer.set(start + Nanoseconds(seconds: 0.02))
        #expect(isReadable(timer.number, within: 10) && now() >= start + Nanoseconds(seconds: 0.02))
        // A look at whose it is changes nothing.
        let isOurs = timer.isOurs
        #expect(isOurs && isReadable(timer.number))
        timer.set(.max)
        #expect(!isReadable(timer.number))
        // A time in the past.
        for _ in 0..<2 {
            timer.set(0)
            let hasFired = timer.waitUntilFired()
            #expect(hasFired && !isReadable(timer.number))
        }
    }

    /// The host has closed it, and another timer got the number. All timers have the same inode.
    @Test(arguments: [true, false]) func anotherTimerWithTheNumberIsLeftAlone(isOneOfOurs: Bool) throws {
        let another = try TimerDescriptor()
        let hosts = timerfd_create(CLOCK_MONOTONIC, Int32(TFD_CLOEXEC))
        let number: Int32
        do {
            let timer = try TimerDescriptor()
            number = timer.number
            try #require(dup2(isOneOfOurs ? another.number : hosts, number) == number)
            let (isOurs, isSet, hasFired) = (timer.isOurs, timer.set(0), timer.waitUntilFired())
            #expect(!isOurs && !isSet && !hasFired)
        }
        // It is open, and not set.
        #expect(fcntl(number, F_GETFD) >= 0 && !isReadable(number))
        close(number)
        close(hosts)
    }

    /// A stop of the process interrupts the wait, which then goes on with the file that has the number now. So does a signal.
    @Test func aFileThatGetsTheNumberDuringTheWaitIsNotRead() throws {
        let timer = try TimerDescriptor()
        let number = timer.number
        let file = eventfd(1, Int32(EFD_CLOEXEC))
        defer { for number in [number, file] { close(number) } }
        var (action, before) = (sigaction(), sigaction())
        action.__sigaction_handler.sa_handler = { _ in }
        action.sa_flags = SA_RESTART
        sigaction(SIGWINCH, &action, &before)
        defer { sigaction(SIGWINCH, &before, nil) }
        // Dispatch's threads block signals.
        let mask = SignalMask.blockAll()
        defer { mask.restore() }
        var none = sigset_t()
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, nil)
        let (waiting, hasEnded) = (pthread_self(), DispatchSemaphore(value: 0))
        let thread = threadFolder()
        let hasLeft = DispatchSemaphore(value: 0)
        try startThread {
            while !isAsleep(thread) { sched_yield() }
            dup2(file, number)
            repeat { pthread_kill(waiting, SIGWINCH) } while hasEnded.wait(timeout: .now() + 0.01) == .timedOut
            hasLeft.signal()
        }
        let hasFired = timer.waitUntilFired()
        hasEnded.signal()
        hasLeft.wait()
        #expect(!hasFired)
        var value: UInt64 = 0
        #expect(isReadable(file) && read(file, &value, 8) == 8 && value == 1)
    }
}
