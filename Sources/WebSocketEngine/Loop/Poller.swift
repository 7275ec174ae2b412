// Owns the epoll descriptor, and the timer that ends its waits: reports which sockets are ready, by the token each was
// registered with. Used by Loop, Transport and Session, on the thread that runs the loop. No other file waits for epoll.

import CLinux
import Glibc

struct Poller: ~Copyable {
    /// Identifies a registration: the session's slot in the low `slotBits`, above them a serial number. It is never reused,
    /// so an old event cannot reach a later session in the same slot, or with the same descriptor number.
    typealias Token = UInt64

    struct Interest: OptionSet {
        let rawValue: UInt32
        static let read = Interest(rawValue: EPOLLIN.rawValue)
        static let write = Interest(rawValue: EPOLLOUT.rawValue)
        /// Reported once, until the next `change`.
        static let once = Interest(rawValue: EPOLLONESHOT.rawValue)
        /// Edge-triggered: reported once for each change. A caller that stops before EAGAIN must remember that there is more
        /// (`Transport.requestAnotherTurn`). EPOLLPRI: see `Readiness.endsOrStops`.
        static let edge = Interest(rawValue: EPOLLET.rawValue | EPOLLRDHUP.rawValue | EPOLLPRI.rawValue)
    }

    struct Readiness {
        let token: Token
        let readable: Bool
        let writable: Bool
        /// A read that fills only a part of its buffer has not emptied the socket: the end of the stream or an error comes
        /// next, or the read stopped at TCP's urgent byte (RFC 9293 section 3.8.5).
        let endsOrStops: Bool
        /// True for a socket in `LoopContext.unfinished`, for which epoll reported nothing.
        var isRequestedTurn = false

        /// Ready for everything: what really is, the reads and writes find out.
        static func requestedTurn(_ token: Token) -> Readiness {
            Readiness(token: token, readable: true, writable: true, endsOrStops: true, isRequestedTurn: true)
        }
    }

    static let slotBits: UInt64 = 24
    /// Maximum number of events that one wait returns.
    static let maxEvents = 256
    /// Result of `wait` when epoll_wait fails, as it does when the host has closed the descriptor.
    static let waitFailed = -2

    /// Its timer ends a wait at its deadline. It is not reset when a deadline moves later, only when an earlier one is needed.
    /// (Epoll's own timeout begins anew in each wait. If it is what comes next, it sets the processor's timer, which is a large
    /// part of a round trip; a second behind the timer it costs nothing.)
    private let epoll: EpollDescriptor
    /// Time at which the timer fires; `max` after it has.
    private var timerSetTo = Nanoseconds.max
    /// Tick of the clock in which it was last known that the host has not closed the epoll descriptor: that of the turn.
    private(set) var checkedAt: Nanoseconds = 0
    private let events: UnsafeMutableBufferPointer<epoll_event>
    private var serial: UInt64 = 0

    init() throws(SystemError) {
        // No session has this token: the timer only ends the wait.
        let epoll = try EpollDescriptor(
            timerEvents: epoll_event(events: EPOLLIN.rawValue | EPOLLET.rawValue, data: epoll_data(u64: .max)))
        events = try allocate(Self.maxEvents * MemoryLayout<epoll_event>.stride).bindMemory(to: epoll_event.self)
        self.epoll = epoll
    }

    deinit { free(events.baseAddress) }

    static func slot(of token: Token) -> Int { Int(token & (1 << slotBits - 1)) }

    /// Returns a token that was never used before.
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
        // Nothing is added to an epoll descriptor of the host.
        guard epoll.isOurs else { throw SystemError("epoll_ctl", EBADF) }
        try epoll.add(descriptor, epoll_event(events: interest.rawValue, data: epoll_data(u64: token)))
        return token
    }

    /// Argument for `remove`.
    var descriptorNumber: Int32 { epoll.number }

    /// close() does not remove the registration while a forked child still holds the descriptor; epoll would go on
    /// reporting its events.
    static func remove(_ descriptor: Int32, from number: Int32) {
        epoll_ctl(number, EPOLL_CTL_DEL, descriptor, nil)
    }

    func change(_ descriptor: borrowing FileDescriptor, _ token: Token, to interest: Interest) {
        change(descriptor.number, token, to: interest)
    }

    func change(_ number: Int32, _ token: Token, to interest: Interest) {
        // EPOLLHUP is reported even without an interest. EPOLLONESHOT limits that to one event; else the loop would spin.
        guard epoll.isOurs else { return }
        let bits = interest.subtracting(.edge).isEmpty ? Interest.once.rawValue : interest.rawValue
        epoll.change(number, epoll_event(events: bits, data: epoll_data(u64: token)))
    }

    /// Waits until `deadline` at the latest; nil means no deadline, 0 does not wait. It may end earlier without an event.
    /// Returns the number of events, -1 when a signal interrupted the wait, or `waitFailed`.
    /// - Parameter mask: signals that are blocked during the wait; nil leaves the thread's mask as it is. With a mask the wait
    ///   is a long one, which can afford epoll's own timeout.
    @inline(__always)
    mutating func wait(until deadline: Nanoseconds?, _ mask: UnsafePointer<sigset_t>? = nil) -> Int {
        var milliseconds: Int32 = deadline == 0 ? 0 : -1
        if let deadline, deadline != 0 {
            if mask != nil {
                milliseconds = Self.milliseconds(from: now(), until: deadline)
            } else {
                guard setTimer(deadline) else { return Self.waitFailed }
                // A second later the wait ends even if another thread has closed the timer meanwhile.
                milliseconds = Self.milliseconds(from: checkedAt, until: deadline) + 1000
            }
        }
        let count = Int(
            ws_epoll_wait(epoll.number, events.baseAddress, Int32(Self.maxEvents), milliseconds, mask))
        return count < 0 && errno != EINTR ? Self.waitFailed : count
    }

    /// Rounded up; twelve days at most.
    private static func milliseconds(from time: Nanoseconds, until deadline: Nanoseconds) -> Int32 {
        Int32(min((max(deadline, time) - time + 999_999) / 1_000_000, 1 << 30))
    }

    /// To be asked before each turn. False when the host has closed the epoll descriptor: its own may have the number, and a wait
    /// there would take the host's events and find no timer. Looks once in each tick of the clock at most, since that takes
    /// system calls.
    @inline(__always)
    mutating func isIntact() -> Bool {
        let tick = lastTick()
        return tick == checkedAt || isIntact(at: tick)
    }

    @inline(never)
    private mutating func isIntact(at tick: Nanoseconds) -> Bool {
        checkedAt = tick
        return epoll.isOurs
    }

    /// Ends a wait, and makes the epoll descriptor readable, at `deadline` at the latest. Returns false when the host has
    /// closed the timer.
    @inline(__always) @discardableResult
    mutating func setTimer(_ deadline: Nanoseconds) -> Bool {
        deadline >= timerSetTo || setEarlierTimer(deadline)
    }

    @inline(never)
    private mutating func setEarlierTimer(_ deadline: Nanoseconds) -> Bool {
        guard epoll.timer.set(deadline) else { return false }
        timerSetTo = deadline
        return true
    }

    /// To be called after a wait, so that a timer that has fired is set again for the next one.
    mutating func noteTime(_ now: Nanoseconds) {
        if timerSetTo <= now { timerSetTo = .max }
    }

    func readiness(at index: Int) -> Readiness {
        let event = events[index]
        // After an error or a hang-up the next read or write returns it.
        let broken = event.events & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0
        return Readiness(
            token: event.data.u64, readable: broken || event.events & EPOLLIN.rawValue != 0,
            writable: broken || event.events & EPOLLOUT.rawValue != 0,
            endsOrStops: broken || event.events & (EPOLLRDHUP.rawValue | EPOLLPRI.rawValue) != 0)
    }
}
