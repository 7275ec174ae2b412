import CLinux
import Glibc
import Testing

@testable import WebSocketEngine

@Suite struct EpollDescriptorTests {
    private static var readable: epoll_event { epoll_event(events: EPOLLIN.rawValue, data: epoll_data()) }

    @Test func knowsItselfAndWhatItHolds() throws {
        let wakeup = FileDescriptor(ws_make_wakeup())
        let epoll = try EpollDescriptor(timerEvents: Self.readable)
        let (isOurs, holdsWakeup) = (epoll.isOurs, epoll.holds(wakeup.number))
        #expect(isOurs && !holdsWakeup)
        // It was not added.
        ws_signal_wakeup(wakeup.number)
        #expect(!isReadable(epoll.number))
        try epoll.add(wakeup.number, Self.readable)
        let holdsItNow = epoll.holds(wakeup.number)
        #expect(holdsItNow && isReadable(epoll.number))
        epoll.remove(wakeup.number)
        #expect(!isReadable(epoll.number))
        epoll.timer.set(0)
        #expect(isReadable(epoll.number))
    }

    /// The host has closed both, and its own epoll descriptor and timer, which is in it, have the numbers.
    @Test func oneOfTheHostWithTheNumberIsLeftAlone() throws {
        let hosts = epoll_create1(Int32(EPOLL_CLOEXEC))
        let timer = timerfd_create(CLOCK_MONOTONIC, Int32(TFD_CLOEXEC))
        let numbers: [Int32]
        do {
            let epoll = try EpollDescriptor(timerEvents: Self.readable)
            numbers = [epoll.number, epoll.timer.number]
            try #require(dup2(hosts, numbers[0]) >= 0 && dup2(timer, numbers[1]) >= 0)
            var event = Self.readable
            try #require(epoll_ctl(hosts, EPOLL_CTL_ADD, numbers[1], &event) == 0)
            let isOurs = epoll.isOurs
            #expect(!isOurs)
        }
        for number in numbers { #expect(fcntl(number, F_GETFD) >= 0) }
        var time = itimerspec()
        time.it_value.tv_nsec = 1
        timerfd_settime(timer, 0, &time, nil)
        #expect(isReadable(hosts, within: 10))
        for number in numbers + [hosts, timer] { close(number) }
    }
}
