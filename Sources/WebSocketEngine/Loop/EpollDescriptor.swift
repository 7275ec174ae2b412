// An epoll descriptor and the timer in it. Owned by Poller and by EventDescriptor.
//
// The host may have closed it, and its own epoll descriptor may have got the number. The inode does not tell: all epoll
// descriptors share one. But only ours holds our timer.

import CLinux
import Glibc

struct EpollDescriptor: ~Copyable {
    let number: Int32
    let timer: TimerDescriptor

    /// - Parameter timerEvents: the registration of the timer.
    init(timerEvents: epoll_event) throws(SystemError) {
        let timer = try TimerDescriptor()
        let number = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard number >= 0 else { throw SystemError("epoll_create1") }
        do throws(SystemError) { try Self.add(timer.number, timerEvents, to: number) } catch {
            close(number)
            throw error
        }
        self.timer = timer
        self.number = number
    }

    deinit { if isOurs { close(number) } }

    /// False when the host has closed it or the timer.
    var isOurs: Bool { timer.isOurs && holds(timer.number) }

    /// Whether `descriptor`, which is ours, was added. Changes nothing, not even an epoll descriptor of the host's.
    func holds(_ descriptor: Int32) -> Bool {
        // Without events: nothing is reported if it is added.
        var event = epoll_event()
        var added = epoll_ctl(number, EPOLL_CTL_ADD, descriptor, &event)
        // The kernel may be short of memory for a moment.
        if added < 0, errno == ENOMEM || errno == ENOSPC {
            added = epoll_ctl(number, EPOLL_CTL_ADD, descriptor, &event)
        }
        guard added == 0 else { return errno == EEXIST }
        remove(descriptor)
        return false
    }

    func add(_ descriptor: Int32, _ event: epoll_event) throws(SystemError) {
        try Self.add(descriptor, event, to: number)
    }

    private static func add(_ descriptor: Int32, _ event: epoll_event, to number: Int32) throws(SystemError) {
        var event = event
        guard epoll_ctl(number, EPOLL_CTL_ADD, descriptor, &event) == 0 else { throw SystemError("epoll_ctl") }
    }

    /// Cannot fail: EPOLL_CTL_MOD of a registered descriptor allocates nothing.
    func change(_ descriptor: Int32, _ event: epoll_event) {
        var event = event
        epoll_ctl(number, EPOLL_CTL_MOD, descriptor, &event)
    }

    func remove(_ descriptor: Int32) { epoll_ctl(number, EPOLL_CTL_DEL, descriptor, nil) }
}
