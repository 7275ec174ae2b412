// When to send a ping of our own, and when silence means that the peer is gone: pure, told what happens and
// asked what is due.

struct Keepalive {
    enum Due: Equatable {
        case nothing
        /// Send this ping.
        case ping(UInt64)
        /// No sign of life came in time.
        case gone
    }

    /// Which sign of life is due.
    private enum Waiting {
        case nothing
        /// A ping, which may still be behind other bytes on its way to the peer's system.
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

    /// A shorter interval would be a ping for each pong.
    private static let minimum = Nanoseconds(seconds: 0.01)

    /// Nanoseconds for which an acknowledgement may be delayed (RFC 9293 3.8.6.3 allows twice as many).
    private static let delayedAcknowledgement = Nanoseconds(seconds: 0.25)

    private let interval: Nanoseconds
    private let timeout: Nanoseconds
    /// The low half of our pings' payloads: tells them from the script's (MessageReader.keepaliveKey).
    private let key: UInt32
    private var count: UInt32 = 0
    /// When the peer was heard last.
    private var heard: Nanoseconds
    /// When bytes of ours left last.
    private var sent: Nanoseconds
    /// When the latest ping was due; 0 before the first.
    private var pinged: Nanoseconds = 0
    private var waiting = Waiting.nothing
    /// When the latest pings were sent, each in the place of its number modulo their count.
    private var times = [Nanoseconds](repeating: 0, count: 16)
    /// The number of the latest ping that was answered.
    private var answered: UInt32 = 0
    /// Whether nothing is read, so that the peer's silence means nothing.
    private var isSuspended = false

    /// - Parameters:
    ///   - interval, timeout: seconds.
    ///   - key: random.
    init(interval: Double, timeout: Double, key: UInt32, now: Nanoseconds) {
        self.interval = max(Nanoseconds(seconds: interval), Self.minimum)
        self.timeout = Nanoseconds(seconds: timeout)
        self.key = key
        heard = now
        sent = now
    }

    /// When `due` has something to say.
    var deadline: Nanoseconds { min(nextPing, end ?? .max) }

    /// After an interval in which one side has sent nothing.
    private var nextPing: Nanoseconds {
        max(isSuspended ? sent : min(heard, sent), pinged) + interval
    }

    private var end: Nanoseconds? { isSuspended ? nil : waiting.since.map { $0 + timeout } }

    /// Whether what the peer's system has acknowledged would tell more.
    var asksForAcknowledgement: Bool { waiting.since != nil }

    /// Any byte is a sign of life.
    mutating func received(_ now: Nanoseconds) {
        heard = now
        waiting = .nothing
    }

    /// The kernel took bytes of ours.
    /// - Parameter isSending: whether more bytes wait for the kernel.
    mutating func sent(_ now: Nanoseconds, isSending: Bool) {
        sent = max(sent, now)
        // The peer takes bytes: it is slow, not dead.
        if isSending, case .delivery = waiting { waiting = .delivery(since: now) }
    }

    /// The peer's system answers for a peer that is slow: as long as bytes of ours are on their way and it acknowledges,
    /// the peer is alive. Once it has all of them, the ping among them, only an answer counts, or a window that opens:
    /// the peer's program then reads what came before the ping.
    /// - Parameter isSending: whether bytes wait that the kernel has not taken.
    mutating func acknowledged(_ latest: Acknowledgement, isSending: Bool, _ now: Nanoseconds) {
        switch waiting {
        case .nothing: break
        case .delivery(let since):
            if isSending || latest.outstanding > 0 {
                waiting = .delivery(since: latest.unanswered == 0 ? now : max(since, latest.latest))
            } else {
                waiting = .answer(since: max(since, latest.latest))
            }
        case .answer(let since):
            // Not the acknowledgement of something that was sent, a later ping above all.
            let margin = max(Self.delayedAcknowledgement, 4 * latest.roundTrip)
            if latest.latest > max(sent, pinged) + margin { waiting = .answer(since: max(since, latest.latest)) }
        }
    }

    mutating func suspend() { isSuspended = true }

    mutating func resume(_ now: Nanoseconds) {
        isSuspended = false
        received(now)
    }

    /// - Parameter isSending: whether bytes wait that the kernel has not taken: the ping before may be among them.
    mutating func due(_ now: Nanoseconds, isSending: Bool) -> Due {
        if let end, end <= now { return .gone }
        guard nextPing <= now else { return .nothing }
        pinged = now
        guard !isSending || waiting.since == nil else { return .nothing }
        count &+= 1
        if waiting.since == nil, !isSuspended { waiting = .delivery(since: now) }
        times[Int(count) % times.count] = now
        return .ping(UInt64(count) << 32 | UInt64(key))
    }

    /// The time that a ping's answer took. Nil for the answer to an older ping than one that was answered: a peer may answer
    /// the latest alone (RFC 6455 5.5.3).
    mutating func answered(_ payload: UInt64, _ now: Nanoseconds) -> Nanoseconds? {
        let number = UInt32(truncatingIfNeeded: payload >> 32)
        guard number > answered, number <= count, Int(count - number) < times.count else { return nil }
        answered = number
        return now - times[Int(number) % times.count]
    }
}
