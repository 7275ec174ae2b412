// The event loop: waits for sockets, commands and deadlines, and hands each to the session that it belongs
// to. What the sessions need of it is the reactor.

import Dispatch
import Glibc
import WebSocketProtocol

/// What a turn of the loop lends to the sessions.
struct Reactor: ~Copyable {
    var poller: Poller
    var timers = Timers()
    var random = RandomPool()
    /// Sockets that have had their turn and may have more to do, of which no readiness will tell.
    var unfinished: [Poller.Token] = []
    /// Whether some socket gave so much in this turn, and has more to come, that it pays to go on with it while Lua
    /// delivers.
    var isStreaming = false
    /// Sockets whose scripts send so much that more is awaited before the next write.
    var lingering: [Poller.Token] = []
    /// Events of the session at work, not published yet.
    var log = EventLog()
    /// When this turn's wait ended.
    var now = WebSocketEngine.now()
    let mailbox: Mailbox
    var lookups = Waiters<HostAndPort>()
    var contexts = TLSContexts()
    /// What a read goes to, unless it goes straight to where it belongs: one for all sockets.
    let input = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 64)

    init(_ poller: consuming Poller, _ mailbox: Mailbox) {
        self.poller = poller
        self.mailbox = mailbox
    }

    deinit { input.deallocate() }
}

struct Loop: ~Copyable {
    private var reactor: Reactor
    private var sessions: [Session?] = []
    private var free: [Int] = []
    private var slots: [ObjectIdentifier: Int] = [:]
    private var commands: [Command] = []
    private let mailToken: Poller.Token
    private var spin = Spin()
    /// So long at most what lingers does, or not at all while a script waits.
    private static let linger = Nanoseconds(seconds: 0.001)
    /// Turns in a row after which some sockets may still be unread.
    private var behind = 0
    private static let mostBehind = 64
    /// What waits for the last session's end.
    private var left: DispatchSemaphore?
    private var isHalted = false

    init(_ mailbox: Mailbox) throws(SystemError) {
        var poller = try Poller()
        // No session has the highest slot: it stands for the mailbox.
        mailToken = try poller.add(mailbox.wakeup, slot: 1 << Int(Poller.slotBits) - 1, .read)
        reactor = Reactor(poller, mailbox)
    }

    enum Outcome {
        case turned
        /// A signal came.
        case interrupted
        /// It was the last turn.
        case halted
    }

    /// Whether there is more to read than Lua should wait for.
    var isStreaming: Bool { reactor.isStreaming }

    /// Whether something is to be written in a moment.
    var isLingering: Bool { !reactor.lingering.isEmpty }

    /// When the last wait ended.
    var now: Nanoseconds { reactor.now }

    /// Waits for the next things to do, until `limit` at most or a signal that is not in `mask`, and does them.
    /// - Parameter forScript: whether a script waits meanwhile.
    mutating func turn(
        until limit: Nanoseconds?, _ mask: UnsafePointer<sigset_t>? = nil, forScript: Bool = false
    ) -> Outcome {
        // What the commands came to may be all that the thread waits for.
        let hasObeyed = reactor.mailbox.hasMail && obey()
        guard !isHalted else { return .halted }
        var deadline = earlier(reactor.timers.next, limit)
        if !reactor.lingering.isEmpty { deadline = earlier(deadline, forScript ? 0 : reactor.now + Self.linger) }
        let unfinished = reactor.unfinished.count
        let hasMail = !reactor.mailbox.await()
        if hasMail || hasObeyed || unfinished > 0 { deadline = 0 }
        let count = wait(until: deadline, mask, forScript: forScript)
        reactor.isStreaming = false
        var isSignalled = false
        for index in 0..<max(count, 0) {
            let readiness = reactor.poller.ready(index)
            if readiness.token == mailToken {
                isSignalled = true
            } else {
                with(Poller.slot(of: readiness.token)) { $0.ready(readiness, &$1) }
            }
        }
        if unfinished > 0 { resume(unfinished) }
        reactor.mailbox.awoke(signalled: isSignalled)
        if reactor.mailbox.hasMail { _ = obey() }
        if !reactor.lingering.isEmpty { flushLingering() }
        // What came before a deadline counts: a process that was stopped and goes on finds both. A signal and a full batch
        // leave it unread; but not for ever.
        behind = count < 0 || count == Poller.batch ? behind + 1 : 0
        if behind == 0 || behind > Self.mostBehind { expire() }
        return isHalted ? .halted : count < 0 ? .interrupted : .turned
    }

    private mutating func expire() {
        // Not those that are added meanwhile: commands and sockets get their turn even if each is due at once.
        for _ in 0..<reactor.timers.count {
            guard let slot = reactor.timers.expired(reactor.now) else { break }
            with(slot) { $0.timeout(&$1) }
        }
    }

    /// As the poller's: but for a script it looks again and again for a moment first, if that pays.
    private mutating func wait(until deadline: Nanoseconds?, _ mask: UnsafePointer<sigset_t>?, forScript: Bool) -> Int {
        let before = reactor.now
        defer { reactor.poller.passed(reactor.now) }
        if forScript, deadline != 0, spin.pays {
            let begin = WebSocketEngine.now()
            repeat {
                let count = reactor.poller.wait(until: 0, mask)
                reactor.now = WebSocketEngine.now()
                if count != 0 {
                    spin.ended(hit: count > 0)
                    return count
                }
            } while reactor.now - begin < Spin.limit
            spin.ended(hit: false)
        }
        let count = reactor.poller.wait(until: deadline, mask)
        reactor.now = WebSocketEngine.now()
        if forScript, deadline != 0, count > 0 { spin.slept(reactor.now - before) }
        return count
    }

    /// The first `count` of those that had more to do; others come behind them meanwhile.
    private mutating func resume(_ count: Int) {
        for index in 0..<count {
            let token = reactor.unfinished[index]
            with(Poller.slot(of: token)) { $0.ready(.promised(token), &$1) }
        }
        reactor.unfinished.removeFirst(count)
    }

    private mutating func flushLingering() {
        let count = reactor.lingering.count
        for index in 0..<count { with(Poller.slot(of: reactor.lingering[index])) { $0.flush(&$1) } }
        reactor.lingering.removeFirst(count)
    }

    /// Whether there was anything to do.
    private mutating func obey() -> Bool {
        reactor.now = WebSocketEngine.now()
        var commands: [Command] = []
        swap(&commands, &self.commands)
        reactor.mailbox.take(&commands)
        for command in commands { obey(command) }
        defer {
            commands.removeAll(keepingCapacity: true)
            swap(&commands, &self.commands)
        }
        return !commands.isEmpty
    }

    private mutating func obey(_ command: Command) {
        switch command {
        case .connect(let socket, let epoch): with(slot(of: socket)) { $0.connect(epoch: epoch, &$1) }
        case .close(let socket, let frame):
            guard let slot = slots[ObjectIdentifier(socket)] else { return }
            with(slot) { $0.close(frame, &$1) }
        case .flush(let socket):
            guard let slot = slots[ObjectIdentifier(socket)] else { return }
            with(slot) { $0.flush(&$1) }
        case .resume(let socket):
            guard let slot = slots[ObjectIdentifier(socket)] else { return }
            with(slot) { $0.resume(&$1) }
        case .drop(let queue):
            for slot in sessions.indices where sessions[slot]?.socket.queue === queue { with(slot) { $0.drop(&$1) } }
        case .leave(let done):
            left = done
            for slot in sessions.indices {
                with(slot) {
                    $0.socket.forsake()
                    $0.close(CloseFrame(code: .goingAway), &$1)
                }
            }
            if slots.isEmpty { done.signal() }
        case .halt(let halted):
            isHalted = true
            sessions.removeAll()
            slots.removeAll()
            halted.signal()
        case .resolved(let name, let resolution):
            for token in reactor.lookups.remove(name) {
                with(Poller.slot(of: token)) { $0.resolved(token, resolution, &$1) }
            }
        case .prepared(let options, let result):
            for token in reactor.contexts.prepared(options, result) {
                with(Poller.slot(of: token)) { $0.prepared(token, result, &$1) }
            }
        }
    }

    /// The slot of a websocket's session, which is made when there is none.
    private mutating func slot(of socket: WebSocket) -> Int {
        if let slot = slots[ObjectIdentifier(socket)] { return slot }
        let slot = free.popLast() ?? sessions.count
        if slot == sessions.count { sessions.append(nil) }
        sessions[slot] = Session(socket, slot: slot)
        slots[ObjectIdentifier(socket)] = slot
        return slot
    }

    /// Lets a session work, then sees to its next deadline or forgets it.
    private mutating func with(_ slot: Int, _ body: (Session, inout Reactor) -> Void) {
        // Neither changes the sessions: nothing has to be counted.
        let session = sessions.withUnsafeBufferPointer { sessions in
            slot < sessions.count ? sessions[slot].map { Unmanaged.passUnretained($0) } : nil
        }
        guard let session else { return }
        let isOver = session._withUnsafeGuaranteedRef { session in
            body(session, &reactor)
            session.schedule(&reactor)
            return session.isOver
        }
        guard isOver, let session = sessions[slot] else { return }
        sessions[slot] = nil
        slots[ObjectIdentifier(session.socket)] = nil
        free.append(slot)
        if slots.isEmpty { left?.signal() }
    }
}
