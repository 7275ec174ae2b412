// One websocket of a script, shared by Lua's thread and the thread that runs the loop: the script's calls, the properties
// that it may read at any time, and the counts by which reading is paused (`maxqueued`). Owned by Lua's userdata; the loop's
// part of the same websocket is Session.

import CEvents
import CLinux
import Glibc
import Synchronization
public import WebSocketProtocol

public final class WebSocket: Sendable {
    /// The values of `ws.state`.
    public enum State: Sendable {
        case closed, connecting, open, closing, waiting
    }

    // Every event reads these: they stand first, so that they share a cache line. So it is in OpenConnection and Session.

    let queue: EventQueue
    /// The id in its event records.
    let id: UInt32
    /// Whether the loop waits for a `resume`.
    private let isResumeRequested = Atomic(false)
    private let hasNoReader = Atomic(false)
    /// Bytes of published records that Lua has not delivered.
    private let undelivered = Atomic(0)
    /// Number of undelivered bytes at which Lua's thread posts the requested `resume`.
    private let resumeLimit = Atomic(0)
    let sendQueue = Mutex(SendQueue())
    private let sharedOptions: SharedOptions

    /// Whether `SendQueue.flushLimit` is set.
    private let isFlushAwaited = Atomic(false)
    private let latestAttempts = Atomic(0)
    /// Questions of `onattempt` that the script was asked.
    private let questions = Atomic<UInt32>(0)
    /// The bits of a Double, in seconds; negative before the first pong.
    private let latestLatency = Atomic((-1.0).bitPattern)

    /// The server that has accepted it; nil for a client.
    let server: Server?

    public init(_ options: Options, queue: EventQueue, id: UInt32) {
        sharedOptions = SharedOptions(options)
        self.queue = queue
        self.id = id
        server = nil
    }

    init(acceptedBy server: Server) {
        sharedOptions = server.connectionOptions
        queue = server.queue
        id = queue.newID()
        self.server = server
    }

    @inline(__always)
    public var options: Options { sharedOptions.value }

    /// The other end, for errors.
    var peer: String { server.map { "of the server at \($0.address)" } ?? "to \(options.url?.description ?? "")" }

    var role: Role { server == nil ? .client : .server }

    // MARK: - Lua's thread

    public var state: State { sendQueue.withLock { $0.state } }

    public var attempts: Int { latestAttempts.load(ordering: .relaxed) }
    /// Seconds between our last ping and its answer.
    public var latency: Double? {
        let seconds = Double(bitPattern: latestLatency.load(ordering: .relaxed))
        return seconds < 0 ? nil : seconds
    }
    public var bufferedAmount: Int { sendQueue.withLock { $0.count } }

    /// Starts the websocket. Exactly one record with WS_EVENT_FINAL will follow from each call.
    /// - Throws: when the system gives the engine no descriptor or thread.
    public func connect() throws(SystemError) {
        let engine = try Engine.startedIfNeeded(for: queue)
        sendQueue.withLock { $0.scriptConnects() }
        queue.websocketStarted(self)
        engine.post(.connect(self))
        engine.endWebsocketsIfFailed(queue)
    }

    /// Ends what `connect` started, an open connection with the closing handshake.
    public func close(_ frame: CloseFrame) {
        sendQueue.withLock { $0.scriptCloses() }
        let isPosted: Void? = Engine.withCurrent { $0.post(.close(self, frame)) }
        // The engine is gone, with all commands.
        if isPosted == nil { sendQueue.withLock { $0.callHandled() } }
    }

    /// The script answers a question of `onattempt`. If the question is not the current one any more, nothing happens.
    public func answer(_ question: UInt32, _ answer: AttemptAnswer) {
        Engine.withCurrent { $0.post(.answer(self, question: question, answer)) }
    }

    /// The script answers that there shall be no attempt: closes the websocket. Returns false, and does nothing, if the
    /// question is not the current one any more.
    public func decline(_ question: UInt32) -> Bool {
        guard sendQueue.withLock({ $0.isCurrent(question) }) else { return false }
        close(CloseFrame(code: .normal))
        return true
    }

    /// The engine has failed. Returns whether there was an open connection.
    func engineEnded() -> Bool {
        sendQueue.withLock { $0.engineEnded() }
    }

    /// In a child of fork: forgets the connection and the queued frames, which are the parent's.
    public func reset() {
        sendQueue.reset(to: SendQueue())
        isResumeRequested.store(false, ordering: .relaxed)
        isFlushAwaited.store(false, ordering: .relaxed)
        undelivered.store(0, ordering: .relaxed)
        latestAttempts.store(0, ordering: .relaxed)
        latestLatency.store((-1.0).bitPattern, ordering: .relaxed)
    }

    /// The script has dropped the websocket: sends what is queued, then closes with 1001.
    public func abandon() {
        dropEvents()
        close(CloseFrame(code: .goingAway))
    }

    /// Queues one message.
    /// - Parameter directly: whether this thread may write to the socket itself.
    public func send(
        _ opcode: Opcode, _ parts: UnsafeBufferPointer<UnsafeRawBufferPointer>, random: inout RandomPool,
        directly: Bool
    ) -> SendResult {
        var wakes = false
        let result = enqueue(opcode, parts, random: &random, directly: directly, wakes: &wakes)
        if wakes { wakeLoop() }
        return result
    }

    /// Queues or writes a frame that is made for many connections of a server.
    func send(frame: UnsafeRawBufferPointer, directly: Bool) -> Bool {
        var wakes = false
        let isTaken = sendQueue.withLock {
            $0.append(frame: frame, limit: options.maxBuffered, directly: directly, wakes: &wakes)
        }
        if wakes { wakeLoop() }
        return isTaken
    }

    @inline(never)
    private func wakeLoop() { Engine.withCurrent { $0.post(.flush(self)) } }

    /// Queues or writes one message. Sets `wakes` if the loop needs a `flush`.
    @inline(__always)
    func enqueue(
        _ opcode: Opcode, _ parts: UnsafeBufferPointer<UnsafeRawBufferPointer>, random: inout RandomPool,
        directly: Bool, wakes: inout Bool
    ) -> SendResult {
        guard let count = parts.count == 1 ? parts[0].count : Self.sum(parts) else {
            return .failed("more bytes than memory can hold")
        }
        if let reason = Self.refusal(opcode, parts, count: count) {
            return state == .open ? .failed(reason) : .notOpen
        }
        return count < SendQueue.largeMessage
            ? sendQueue.withLock {
                $0.append(
                    opcode, parts, count: count, limit: options.maxBuffered, random: &random, directly: directly,
                    wakes: &wakes)
            } : sendLarge(opcode, parts, count: count, random: &random, directly: directly, wakes: &wakes)
    }

    /// Bytes of all parts; nil if that is more than an Int can hold: the same string may be given many times.
    @inline(never)
    private static func sum(_ parts: UnsafeBufferPointer<UnsafeRawBufferPointer>) -> Int? {
        var count = 0
        for part in parts {
            let (sum, overflow) = count.addingReportingOverflow(part.count)
            guard !overflow else { return nil }
            count = sum
        }
        return count
    }

    /// Copies and masks the message without the lock.
    @inline(never)
    private func sendLarge(
        _ opcode: Opcode, _ parts: UnsafeBufferPointer<UnsafeRawBufferPointer>, count: Int, random: inout RandomPool,
        directly: Bool, wakes: inout Bool
    ) -> SendResult {
        while true {
            var frame = LargeFrame()
            if let refusal = sendQueue.withLock({
                $0.begin(count, limit: options.maxBuffered, random: &random, &frame)
            }) {
                return refusal
            }
            guard FrameEncoder.append(opcode, parts, count: count, mask: frame.mask, to: &frame.buffer) else {
                return SendQueue.noMemory(count)
            }
            // False: the connection has ended meanwhile, and there may be a new one.
            if sendQueue.withLock({ $0.append(&frame, directly: directly, wakes: &wakes) }) { return .sent }
        }
    }

    /// Why the message must not be sent: the peer would have to fail the connection. nil if it may.
    @inline(__always)
    private static func refusal(
        _ opcode: Opcode, _ parts: UnsafeBufferPointer<UnsafeRawBufferPointer>, count: Int
    ) -> String? {
        // RFC 6455 section 5.5: control frames have at most 125 bytes.
        if opcode.isControl, count > 125 { return "it has \(count) bytes; 125 is the most" }
        guard opcode == .text else { return nil }
        // 5.6: text is UTF-8.
        let isText = parts.count == 1 ? UTF8Validator.isText(parts[0]) : areText(parts)
        return isText ? nil : "the text is not UTF-8"
    }

    /// A character may be cut between two parts.
    @inline(never)
    private static func areText(_ parts: UnsafeBufferPointer<UnsafeRawBufferPointer>) -> Bool {
        var validator = UTF8Validator()
        return parts.allSatisfy { validator.validate($0) } && validator.isComplete
    }

    /// What `flush` has found.
    public enum FlushState: Sendable {
        case flushed, flushing, noConnection
    }

    /// Whether no more than `bytes` of what was sent wait for the kernel. If more do, a WS_EVENT_FLUSHED record will come.
    public func flush(downTo bytes: Int) -> FlushState {
        sendQueue.withLock { sendQueue in
            guard sendQueue.isConnected else { return .noConnection }
            guard sendQueue.count > bytes else { return .flushed }
            sendQueue.flushLimit = bytes
            isFlushAwaited.store(true, ordering: .relaxed)
            return .flushing
        }
    }

    /// Lua has delivered `bytes` of its records.
    public func delivered(_ bytes: Int) {
        if hasCaughtUp(after: bytes) { Engine.withCurrent { $0.post(.resume(self)) } }
    }

    /// Counts delivered bytes. Returns true when the requested `resume` is to be posted now.
    @inline(__always)
    func hasCaughtUp(after bytes: Int) -> Bool {
        let left = undelivered.subtract(bytes, ordering: .sequentiallyConsistent).newValue
        return left <= resumeLimit.load(ordering: .sequentiallyConsistent)
            && isResumeRequested.load(ordering: .sequentiallyConsistent)
            && isResumeRequested.exchange(false, ordering: .sequentiallyConsistent)
    }

    /// Lua has no memory for a message of `bytes`: the connection is to be closed with 1009.
    /// - Parameter number: of the connection, as OPEN events count them. A later one is not closed.
    public func refuse(_ bytes: Int, connection number: UInt32) {
        Engine.withCurrent { $0.post(.refuse(self, bytes: bytes, connection: number)) }
    }

    // MARK: - The thread that runs the loop

    /// Sets `state`, unless the script has called `connect` or `close` meanwhile.
    func setState(_ state: State) { sendQueue.withLock { $0.setState(state) } }

    /// Whether it had a connection in this process, also before a `close` and the next `connect`.
    var hasOpened: Bool { sendQueue.withLock { $0.connection > 0 } }

    /// Whether nobody will read its events.
    var isAbandoned: Bool { hasNoReader.load(ordering: .relaxed) }

    /// From now on its events are dropped.
    func dropEvents() { hasNoReader.store(true, ordering: .relaxed) }

    func setLatency(_ latency: Nanoseconds) { latestLatency.store(latency.seconds.bitPattern, ordering: .relaxed) }

    /// Publishes a question for the script's function onattempt. Returns its number.
    func ask(_ attempt: Int, _ records: inout EventRecords) -> UInt32 {
        let question = questions.add(1, ordering: .relaxed).newValue
        sendQueue.withLock { $0.question = question }
        let payload = ws_question(number: question, attempt: UInt32(truncatingIfNeeded: attempt))
        withUnsafeBytes(of: payload) { records.append(essential: WS_EVENT_ATTEMPT, socket: id, $0) }
        publish(&records)
        return question
    }

    /// The question was answered, or is waited for no longer.
    func questionEnded() { sendQueue.withLock { $0.question = nil } }

    func setAttempts(_ count: Int) { latestAttempts.store(count, ordering: .relaxed) }

    /// To be called after each write: publishes the record that `flush` asked for, if its time has come.
    @inline(__always)
    func reportFlushed(_ records: inout EventRecords) {
        if isFlushAwaited.load(ordering: .relaxed) { publishFlushed(&records) }
    }

    @inline(never)
    private func publishFlushed(_ records: inout EventRecords) {
        let isFlushed = sendQueue.withLock { sendQueue in
            guard sendQueue.count <= sendQueue.flushLimit else { return false }
            isFlushAwaited.store(false, ordering: .relaxed)
            return true
        }
        if isFlushed { publishEvent(WS_EVENT_FLUSHED, EventInfo(), &records) }
    }

    /// Queues the records for Lua.
    func publish(_ records: inout EventRecords) {
        let bytes = records.size
        guard bytes > 0 else { return }
        // Events of an abandoned websocket are dropped; publishing nothing still wakes `EventQueue.shut`.
        if isAbandoned { records.removeAll() }
        guard queue.publish(&records), !isAbandoned else { return }
        undelivered.add(bytes, ordering: .sequentiallyConsistent)
    }

    /// Whether `maxqueued` bytes or more are undelivered. If so, asks for a `resume` once half of them are delivered.
    func pauseIfQueueFull() -> Bool {
        undelivered.load(ordering: .sequentiallyConsistent) >= options.maxQueued
            && requestResume(at: options.maxQueued / 2)
    }

    /// Asks for a `resume` once no more than `limit` bytes are undelivered. False when that is so already.
    func requestResume(at limit: Int) -> Bool {
        guard !isAbandoned else { return false }
        resumeLimit.store(limit, ordering: .sequentiallyConsistent)
        isResumeRequested.store(true, ordering: .sequentiallyConsistent)
        // Lua may have delivered them before it could see the flag.
        guard undelivered.load(ordering: .sequentiallyConsistent) <= limit,
            isResumeRequested.exchange(false, ordering: .sequentiallyConsistent)
        else { return true }
        return false
    }

    /// Publishes an OPEN, ERROR, CLOSE or ENDED record.
    func publishEvent(_ type: Int, _ info: EventInfo, flags: Int = 0, _ records: inout EventRecords) {
        info.payload.withUnsafeBytes { records.append(essential: type, socket: id, flags: flags, $0) }
        publish(&records)
    }

    /// Publishes a line for the `debug` function, if the script has given one.
    func debugLine(_ line: @autoclosure () -> String, _ records: inout EventRecords) {
        guard options.debug else { return }
        records.append(line: replacingControlCharacters(line()), socket: id)
        publish(&records)
    }
}
