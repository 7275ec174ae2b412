// When to send a ping of our own, and when silence means that the peer is gone. Pure: OpenConnection, on the thread that runs
// the loop, reports what happens and asks what is due.

struct Keepalive {
    enum Due: Equatable {
        case nothing
        /// Send this ping.
        case ping(UInt64)
        /// No sign of life has come in time.
        case gone
    }

    /// The sign of life that is awaited.
    private enum Awaited {
        case nothing
        /// The acknowledgement of a ping, which may still be behind other bytes on its way to the peer's system.
        case delivery(since: Nanoseconds)
        /// The peer's system has the ping, and its program has not answered.
        case answer(since: Nanoseconds)

        var since: Nanoseconds? {
            switch self {
            case .nothing: nil
            case .delivery(let since), .answer(let since): since
            }
        }
    }

    /// Nanoseconds. Shorter intervals would send a ping after every pong.
    private static let minimumInterval = Nanoseconds(seconds: 0.01)

    /// Nanoseconds for which an acknowledgement may be delayed (RFC 9293 3.8.6.3 allows twice as many).
    private static let delayedAcknowledgement = Nanoseconds(seconds: 0.25)

    private let interval: Nanoseconds
    private let timeout: Nanoseconds
    /// The low half of our pings' payloads. It marks them: the script's pings have other payloads (MessageReader).
    private let key: UInt32
    /// Number of the latest ping, the high half of its payload.
    private var pingCount: UInt32 = 0
    /// When bytes of the peer came last.
    private var lastReceived: Nanoseconds
    /// When the kernel took bytes of ours last.
    private var lastSent: Nanoseconds
    /// When the latest ping was due; 0 before the first.
    private var lastDue: Nanoseconds = 0
    private var awaited = Awaited.nothing
    /// When the latest 16 pings were sent; the index is the ping's number modulo 16.
    private var pingTimes = [Nanoseconds](repeating: 0, count: 16)
    /// The number of the latest ping that was answered.
    private var lastAnswered: UInt32 = 0
    /// Whether reading is paused, so that the peer's silence means nothing.
    private var isSuspended = false

    /// - Parameters:
    ///   - interval, timeout: seconds.
    ///   - key: random.
    init(interval: Double, timeout: Double, key: UInt32, now: Nanoseconds) {
        self.interval = max(Nanoseconds(seconds: interval), Self.minimumInterval)
        self.timeout = Nanoseconds(seconds: timeout)
        self.key = key
        lastReceived = now
        lastSent = now
    }

    /// When to call `due`.
    var deadline: Nanoseconds { min(nextPing, lastMoment ?? .max) }

    /// After an interval in which one side has sent nothing.
    private var nextPing: Nanoseconds {
        max(isSuspended ? lastSent : min(lastReceived, lastSent), lastDue) + interval
    }

    /// When the peer is given up.
    private var lastMoment: Nanoseconds? { isSuspended ? nil : awaited.since.map { $0 + timeout } }

    /// Whether `acknowledged` is to be called before `due`.
    var needsAcknowledgement: Bool { awaited.since != nil }

    /// Any byte is a sign of life.
    mutating func received(_ now: Nanoseconds) {
        lastReceived = now
        awaited = .nothing
    }

    /// The kernel took bytes of ours.
    /// - Parameter isSending: whether more bytes wait for the kernel.
    mutating func sent(_ now: Nanoseconds, isSending: Bool) {
        lastSent = max(lastSent, now)
        // The peer takes bytes: it is slow, not dead.
        if isSending, case .delivery = awaited { awaited = .delivery(since: now) }
    }

    /// The peer's system answers for a peer that is slow: as long as bytes of ours are on their way and it acknowledges,
    /// the peer is alive. Once it has all of them, the ping among them, only an answer counts, or a window that opens:
    /// the peer's program then reads what came before the ping.
    /// - Parameter isSending: whether bytes wait that the kernel has not taken.
    mutating func acknowledged(_ latest: Acknowledgement, isSending: Bool, _ now: Nanoseconds) {
        switch awaited {
        case .nothing: break
        case .delivery(let since):
            if isSending || latest.outstanding > 0 {
                awaited = .delivery(since: latest.unanswered == 0 ? now : max(since, latest.latest))
            } else {
                awaited = .answer(since: max(since, latest.latest))
            }
        case .answer(let since):
            // A window that opens, not the acknowledgement of bytes that were sent later, such as another ping.
            let margin = max(Self.delayedAcknowledgement, 4 * latest.roundTrip)
            if latest.latest > max(lastSent, lastDue) + margin { awaited = .answer(since: max(since, latest.latest)) }
        }
    }

    mutating func suspend() { isSuspended = true }

    mutating func resume(_ now: Nanoseconds) {
        isSuspended = false
        received(now)
    }

    /// - Parameter isSending: whether bytes wait that the kernel has not taken; the ping before may be among them.
    mutating func due(_ now: Nanoseconds, isSending: Bool) -> Due {
        if let lastMoment, lastMoment <= now { return .gone }
        guard nextPing <= now else { return .nothing }
        lastDue = now
        guard !isSending || awaited.since == nil else { return .nothing }
        pingCount &+= 1
        if awaited.since == nil, !isSuspended { awaited = .delivery(since: now) }
        pingTimes[Int(pingCount) % pingTimes.count] = now
        return .ping(UInt64(pingCount) << 32 | UInt64(key))
    }

    /// A pong of ours has come. Returns how long it took; nil if a later ping was answered before (a peer may answer only the
    /// latest: RFC 6455 5.5.3).
    mutating func answered(_ payload: UInt64, _ now: Nanoseconds) -> Nanoseconds? {
        let number = UInt32(truncatingIfNeeded: payload >> 32)
        guard number > lastAnswered, number <= pingCount, Int(pingCount - number) < pingTimes.count else { return nil }
        lastAnswered = number
        return now - pingTimes[Int(number) % pingTimes.count]
    }
}
