// The descriptor of one Lua state for event loops of the host: an epoll descriptor that holds the eventfd of the EventQueue,
// the script's timer, and the engine's own epoll descriptor. The host polls it; nobody waits for it with epoll_wait.
// Owned by EventQueue, behind its lock: Lua's thread makes it, and the loop thread changes it when it takes or leaves the loop.

import CLinux
import Glibc

struct EventDescriptor: ~Copyable {
    let number: Int32
    private let wakeup: Int32
    private let timer: TimerDescriptor
    /// The engine's epoll descriptor; -1: none.
    private var loop: Int32 = -1

    init(wakeup: Int32) throws(SystemError) {
        let timer = try TimerDescriptor()
        let number = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard number >= 0 else { throw SystemError("epoll_create1") }
        do throws(SystemError) {
            try Self.add(wakeup, to: number)
            try Self.add(timer.descriptor.number, to: number)
        } catch {
            close(number)
            throw error
        }
        self.number = number
        self.wakeup = wakeup
        self.timer = timer
    }

    deinit {
        if isIntact || Self.change(timer.descriptor.number, to: EPOLLIN.rawValue, in: number) { close(number) }
    }

    /// False when the host has closed this descriptor or the eventfd. The inode does not tell: all epoll descriptors share
    /// one. Only ours holds our eventfd.
    var isIntact: Bool { Self.change(wakeup, to: EPOLLIN.rawValue, in: number) }

    /// It is readable from `time` on; `max` means never.
    func setTimer(_ time: Nanoseconds) { timer.set(time) }

    // MARK: - The engine's epoll descriptor

    /// From now on this is readable while a turn of the loop has something to do.
    mutating func addLoop(_ epoll: Int32) throws(SystemError) {
        // Nothing is added to an epoll descriptor of the host.
        guard epoll != loop, isIntact else { return }
        try Self.add(epoll, to: number)
        loop = epoll
    }

    mutating func removeLoop() {
        epoll_ctl(number, EPOLL_CTL_DEL, loop, nil)
        loop = -1
    }

    /// Whether the loop's work is reported. It is not while the loop thread does the work.
    func reportLoop(_ isReported: Bool) {
        if loop >= 0 { _ = Self.change(loop, to: isReported ? EPOLLIN.rawValue : 0, in: number) }
    }

    private static func add(_ descriptor: Int32, to epoll: Int32) throws(SystemError) {
        var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data())
        guard epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0 else { throw SystemError("epoll_ctl") }
    }

    /// Returns false if `epoll` does not hold the descriptor.
    private static func change(_ descriptor: Int32, to events: UInt32, in epoll: Int32) -> Bool {
        var event = epoll_event(events: events, data: epoll_data())
        return epoll_ctl(epoll, EPOLL_CTL_MOD, descriptor, &event) == 0
    }
}
