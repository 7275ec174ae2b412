import CLinux
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
}
