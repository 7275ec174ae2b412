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

    /// A shorter interval would be a ping for each pong.
    private static let minimum = Nanoseconds(seconds: 0.01)

    private let interval: Nanoseconds
    private let timeout: Nanoseconds
    /// The low half of our pings' payloads: tells them from the script's (Connection.keepaliveKey).
    private let key: UInt32
    private var count: UInt32 = 0
    /// When the peer was heard last.
    private var heard: Nanoseconds
    /// Since when a sign of life is waited for.
    private var waiting: Nanoseconds?
    /// When the latest ping was sent, until its pong has come.
    private var sent: Nanoseconds?
    /// Whether nothing is read, so that silence means nothing.
    private var isSuspended = false

    /// - Parameters:
    ///   - interval, timeout: seconds.
    ///   - key: random.
    init(interval: Double, timeout: Double, key: UInt32, now: Nanoseconds) {
        self.interval = max(Nanoseconds(seconds: interval), Self.minimum)
        self.timeout = Nanoseconds(seconds: timeout)
        self.key = key
        heard = now
    }

    /// When `due` has something to say.
    var deadline: Nanoseconds? {
        if isSuspended { return nil }
        return waiting.map { $0 + timeout } ?? heard + interval
    }

    /// Any byte is a sign of life.
    mutating func received(_ now: Nanoseconds) {
        heard = now
        waiting = nil
    }

    /// The kernel took bytes while others still wait: what is slow is not gone.
    mutating func progressed(_ now: Nanoseconds) {
        if waiting != nil { waiting = now }
    }

    mutating func suspend() { isSuspended = true }

    mutating func resume(_ now: Nanoseconds) {
        isSuspended = false
        received(now)
    }

    mutating func due(_ now: Nanoseconds) -> Due {
        guard let deadline, deadline <= now else { return .nothing }
        guard waiting == nil else { return .gone }
        count &+= 1
        waiting = now
        sent = now
        return .ping(UInt64(count) << 32 | UInt64(key))
    }

    /// The time that the latest ping's answer took; nil for the answer to another.
    mutating func answered(_ payload: UInt64, _ now: Nanoseconds) -> Nanoseconds? {
        guard let sent, payload == UInt64(count) << 32 | UInt64(key) else { return nil }
        self.sent = nil
        return now - sent
    }
}
