// The descriptor of one Lua state for event loops of the host: an epoll descriptor that holds the wake-up of the EventQueue,
// the script's timer, and the engine's own epoll descriptor. The host polls it; nobody waits for it with epoll_wait.
// Owned by EventQueue, behind its lock: Lua's thread makes it, and the loop thread changes it when it takes or leaves the loop.

import CLinux
import Glibc

struct EventDescriptor: ~Copyable {
    private let epoll: EpollDescriptor
    private let wakeup: Int32
    /// The engine's epoll descriptor; -1: none.
    private var loop: Int32 = -1
    /// Tick of the clock in which `reportLoop` has seen that the host has not closed this descriptor.
    private var checkedAt: Nanoseconds = 0

    /// - Parameter wakeup: the number of the EventQueue's descriptor.
    init(wakeup: Int32) throws(SystemError) {
        let epoll = try EpollDescriptor(timerEvents: Self.readable)
        try epoll.add(wakeup, Self.readable)
        self.epoll = epoll
        self.wakeup = wakeup
    }

    var number: Int32 { epoll.number }

    /// False when the host has closed this descriptor. `wakeup` must be ours still.
    var isIntact: Bool { epoll.holds(wakeup) }

    /// It is readable from `time` on; `max` means never.
    func setTimer(_ time: Nanoseconds) { epoll.timer.set(time) }

    // MARK: - The engine's epoll descriptor

    /// From now on this is readable while a turn of the loop has something to do.
    mutating func addLoop(_ loop: Int32) throws(SystemError) {
        // Nothing is added to an epoll descriptor of the host.
        guard loop != self.loop, epoll.isOurs else { return }
        try epoll.add(loop, Self.readable)
        self.loop = loop
    }

    mutating func removeLoop() {
        if epoll.isOurs { epoll.remove(loop) }
        loop = -1
    }

    /// Whether the loop's work is reported. It is not while the loop thread does the work. Called for each message, so that it
    /// looks once in each tick of the clock at most whether this is an epoll descriptor of the host, which may hold another one
    /// with the number of the engine's.
    mutating func reportLoop(_ isReported: Bool) {
        guard loop >= 0 else { return }
        let tick = lastTick()
        guard tick == checkedAt || epoll.isOurs else { return }
        checkedAt = tick
        epoll.change(loop, isReported ? Self.readable : epoll_event())
    }

    private static var readable: epoll_event { epoll_event(events: EPOLLIN.rawValue, data: epoll_data()) }
}
