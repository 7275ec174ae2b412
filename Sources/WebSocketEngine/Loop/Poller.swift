// epoll, and nothing else: which descriptors are ready, by the token that each was registered with. The
// only file that names it.

import CLinux
import Glibc

struct Poller: ~Copyable {
    /// What a registration is called: the slot of the session it belongs to in the low bits, above them a
    /// number that is never used again, so that no event reaches a later owner of slot or descriptor.
    typealias Token = UInt64

    struct Interest: OptionSet {
        let rawValue: UInt32
        static let read = Interest(rawValue: EPOLLIN.rawValue)
        static let write = Interest(rawValue: EPOLLOUT.rawValue)
        /// Told once for each change, not as long as it is so: whoever does not read or write until it would block has
        /// to remember that there is more.
        /// EPOLLPRI: see `Readiness.endsOrStops`.
        static let edge = Interest(rawValue: EPOLLET.rawValue | EPOLLRDHUP.rawValue | EPOLLPRI.rawValue)
    }

    struct Readiness {
        let token: Token
        let readable: Bool
        let writable: Bool
        /// A read may return less than has come: behind the last bytes there is an end to read, since the peer has closed
        /// its side or the connection is broken, or a read stops at TCP's urgent byte (RFC 9293 3.8.5).
        let endsOrStops: Bool
        /// Not told by epoll, but asked for (`LoopContext.unfinished`).
        var isRequestedTurn = false

        /// Anything may have come meanwhile.
        static func requestedTurn(_ token: Token) -> Readiness {
            Readiness(token: token, readable: true, writable: true, endsOrStops: true, isRequestedTurn: true)
        }
    }

    static let slotBits: UInt64 = 24
    /// So many events at most come of one wait.
    static let maxEvents = 256
    /// What `wait` returns when the system has no such descriptor, as when the host has closed it.
    static let waitFailed = -2

    private let epoll: FileDescriptor
    /// Ends a wait at its deadline. Left set from wait to wait: deadlines move on and on, and a timer that is set and
    /// taken back each time, as epoll's own would be, costs much of a round trip.
    private let timer: TimerDescriptor
    private var timerSetTo = Nanoseconds.max
    private let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: maxEvents)
    private var serial: UInt64 = 0

    init() throws(SystemError) {
        let epoll = try FileDescriptor(epoll_create1(Int32(EPOLL_CLOEXEC)), from: "epoll_create1")
        let timer = try TimerDescriptor()
        // Nobody's token.
        var event = epoll_event(events: EPOLLIN.rawValue | EPOLLET.rawValue, data: epoll_data(u64: .max))
        guard epoll_ctl(epoll.number, EPOLL_CTL_ADD, timer.descriptor.number, &event) == 0 else {
            throw SystemError("epoll_ctl")
        }
        self.epoll = epoll
        self.timer = timer
    }

    deinit { events.deallocate() }

    static func slot(of token: Token) -> Int { Int(token & (1 << slotBits - 1)) }

    /// A token that was never given before.
    mutating func token(slot: Int) -> Token {
        serial += 1
        return serial << Self.slotBits | UInt64(slot)
    }

    mutating func add(_ descriptor: borrowing FileDescriptor, slot: Int, _ interest: Interest) throws(SystemError)
        -> Token
    {
        try add(descriptor.number, slot: slot, interest)
    }

    mutating func add(_ descriptor: Int32, slot: Int, _ interest: Interest) throws(SystemError) -> Token {
        let token = token(slot: slot)
        var event = epoll_event(events: interest.rawValue, data: epoll_data(u64: token))
        guard epoll_ctl(epoll.number, EPOLL_CTL_ADD, descriptor, &event) == 0 else { throw SystemError("epoll_ctl") }
        return token
    }

    /// What `remove` needs.
    var descriptorNumber: Int32 { epoll.number }

    /// Closing does not do it where a child of fork has the descriptor too: its events would come for ever.
    static func remove(_ descriptor: Int32, from number: Int32) {
        epoll_ctl(number, EPOLL_CTL_DEL, descriptor, nil)
    }

    /// A descriptor that is registered can be changed without memory: it does not fail.
    func change(_ descriptor: borrowing FileDescriptor, _ token: Token, to interest: Interest) {
        // A hang-up is told whether asked for or not: with no interest, once and no more, or it would spin.
        let bits = interest.subtracting(.edge).isEmpty ? EPOLLONESHOT.rawValue : interest.rawValue
        var event = epoll_event(events: bits, data: epoll_data(u64: token))
        epoll_ctl(epoll.number, EPOLL_CTL_MOD, descriptor.number, &event)
    }

    /// Waits until `deadline` at most (nil: for ever; 0: not at all), but it may end before. Returns how many events
    /// there are; -1 when a signal came, `waitFailed` when it can't wait. `mask`: the signals blocked meanwhile, unless they stay as they are.
    mutating func wait(until deadline: Nanoseconds?, _ mask: UnsafePointer<sigset_t>? = nil) -> Int {
        if let deadline, deadline != 0, deadline < timerSetTo {
            timer.set(deadline)
            timerSetTo = deadline
        }
        let count = Int(ws_epoll_wait(epoll.number, events, Int32(Self.maxEvents), deadline == 0 ? 0 : -1, mask))
        return count < 0 && errno != EINTR ? Self.waitFailed : count
    }

    /// An alarm that has gone off is to be set again.
    mutating func noteTime(_ now: Nanoseconds) {
        if timerSetTo <= now { timerSetTo = .max }
    }

    func readiness(at index: Int) -> Readiness {
        let event = events[index]
        // An error or a hang-up shows itself in the read or write that follows.
        let broken = event.events & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0
        return Readiness(
            token: event.data.u64, readable: broken || event.events & EPOLLIN.rawValue != 0,
            writable: broken || event.events & EPOLLOUT.rawValue != 0,
            endsOrStops: broken || event.events & (EPOLLRDHUP.rawValue | EPOLLPRI.rawValue) != 0)
    }
}
