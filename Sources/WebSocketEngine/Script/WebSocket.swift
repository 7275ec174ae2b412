// One websocket as both threads see it: what Lua's thread may ask at any time, and the few facts that the
// engine keeps up to date for it. The engine's own part is Session.

import CEvents
import Glibc
import Synchronization
public import WebSocketProtocol

public final class WebSocket: Sendable {
    /// What `state` tells a script.
    public enum State: Sendable {
        case closed, connecting, open, closing, waiting
    }

    // With many connections each event finds its websocket out of the cache: what it touches stands together, at the
    // front. So it is in Channel and Session.

    let queue: EventQueue
    /// What its event records carry.
    let id: UInt32
    /// Whether the engine has stopped reading until Lua has caught up.
    private let paused = Atomic(false)
    /// Whether nobody will ever read its events.
    private let abandoned = Atomic(false)
    /// Bytes of its records that were not delivered yet.
    private let undelivered = Atomic(0)
    /// How few bytes may be undelivered for reading to go on.
    private let resumesAt = Atomic(0)
    let sendQueue = Mutex(SendQueue())
    let options: Options

    private let attemptsNow = Atomic(0)
    /// The bits of a Double: seconds; negative before the first pong.
    private let latencyNow = Atomic((-1.0).bitPattern)

    public init(_ options: Options, queue: EventQueue, id: UInt32) {
        self.options = options
        self.queue = queue
        self.id = id
    }

    // MARK: - Lua's side

    public var state: State { sendQueue.withLock { $0.state } }

    public var attempts: Int { attemptsNow.load(ordering: .relaxed) }
    /// Seconds between our last ping and its answer.
    public var latency: Double? {
        let seconds = Double(bitPattern: latencyNow.load(ordering: .relaxed))
        return seconds < 0 ? nil : seconds
    }
    public var bufferedAmount: Int { sendQueue.withLock { $0.count } }

    /// Starts: exactly one WS_EVENT_FINAL record will follow.
    public func connect() throws(SystemError) {
        let engine = try Engine.startedIfNeeded(for: queue)
        sendQueue.withLock { $0.scriptConnects() }
        queue.websocketStarted(self)
        engine.post(.connect(self))
        engine.endWebsocketsIfFailed(queue)
    }

    /// Ends what `connect` started: with the closing handshake when open.
    public func close(_ frame: CloseFrame) {
        sendQueue.withLock { $0.scriptCloses() }
        let isPosted: Void? = Engine.withCurrent { $0.post(.close(self, frame)) }
        // The engine has ended: nobody will deal with it.
        if isPosted == nil { sendQueue.withLock { $0.callHandled() } }
    }

    /// The engine is gone, and with it the connection. Returns whether there was one.
    func engineEnded() -> Bool {
        sendQueue.withLock { $0.engineEnded() }
    }

    /// In a child of fork: the connection is the parent's, and so is what waits.
    public func reset() {
        sendQueue.reset(to: SendQueue())
        paused.store(false, ordering: .relaxed)
        undelivered.store(0, ordering: .relaxed)
        attemptsNow.store(0, ordering: .relaxed)
        latencyNow.store((-1.0).bitPattern, ordering: .relaxed)
    }

    /// Nobody listens any more: what was sent still leaves, then the connection is closed (1001).
    public func abandon() {
        dropEvents()
        close(CloseFrame(code: .goingAway))
    }

    /// Queues one message; with `directly` it may be written to the kernel at once.
    public func send(
        _ opcode: Opcode, _ parts: UnsafeBufferPointer<UnsafeRawBufferPointer>, random: inout RandomPool, directly: Bool
    ) -> SendResult {
        var wakes = false
        let result = enqueue(opcode, parts, random: &random, directly: directly, wakes: &wakes)
        if wakes { wakeLoop() }
        return result
    }

    @inline(never)
    private func wakeLoop() { Engine.withCurrent { $0.post(.flush(self)) } }

    /// Queues one message, or writes it. `wakes` tells that the engine needs a `flush`.
    @inline(__always)
    func enqueue(
        _ opcode: Opcode, _ parts: UnsafeBufferPointer<UnsafeRawBufferPointer>, random: inout RandomPool,
        directly: Bool, wakes: inout Bool
    ) -> SendResult {
        var count = 0
        for part in parts {
            let (sum, overflow) = count.addingReportingOverflow(part.count)
            guard !overflow else { return .failed("more bytes than memory can hold") }
            count = sum
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
            // Else the connection has ended meanwhile, and there may be a new one.
            if sendQueue.withLock({ $0.append(&frame, directly: directly, wakes: &wakes) }) { return .sent }
        }
    }

    /// Why the peer would have to close the connection if it got this message; nil when it would not.
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

    /// So many bytes of its records were delivered: reading goes on once Lua has caught up.
    public func delivered(_ bytes: Int) {
        if hasCaughtUp(after: bytes) { Engine.withCurrent { $0.post(.resume(self)) } }
    }

    /// Counts delivered bytes. Returns whether the engine has asked for a `resume` that is due now.
    @inline(__always)
    func hasCaughtUp(after bytes: Int) -> Bool {
        let left = undelivered.subtract(bytes, ordering: .sequentiallyConsistent).newValue
        return left <= resumesAt.load(ordering: .sequentiallyConsistent)
            && paused.load(ordering: .sequentiallyConsistent)
            && paused.exchange(false, ordering: .sequentiallyConsistent)
    }

    /// Lua has no memory for a message of this many bytes, which came with the connection that the script was told of by its
    /// `number`-th OPEN.
    public func refuse(_ bytes: Int, connection number: UInt32) {
        Engine.withCurrent { $0.post(.refuse(self, bytes: bytes, connection: number)) }
    }

    // MARK: - The engine's side

    /// Sets what `state` returns, unless the script has called `connect` or `close` meanwhile: then its word stands.
    func setState(_ state: State) { sendQueue.withLock { $0.setState(state) } }

    var isAbandoned: Bool { abandoned.load(ordering: .relaxed) }

    /// From now on its events are dropped.
    func dropEvents() { abandoned.store(true, ordering: .relaxed) }

    func setLatency(_ latency: Nanoseconds) { latencyNow.store(latency.seconds.bitPattern, ordering: .relaxed) }

    func setAttempts(_ count: Int) { attemptsNow.store(count, ordering: .relaxed) }

    /// Hands records to Lua.
    func publish(_ records: inout EventRecords) {
        let bytes = records.size
        guard bytes > 0 else { return }
        // Where nobody listens nothing is queued, but whoever waits for the end looks again.
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
        resumesAt.store(limit, ordering: .sequentiallyConsistent)
        paused.store(true, ordering: .sequentiallyConsistent)
        // Lua may have caught up before it could see the flag.
        guard undelivered.load(ordering: .sequentiallyConsistent) <= limit,
            paused.exchange(false, ordering: .sequentiallyConsistent)
        else { return true }
        return false
    }

    /// Publishes an event that carries words or an `info` table.
    func publishEvent(_ type: Int, _ info: EventInfo, flags: Int = 0, _ records: inout EventRecords) {
        info.payload.withUnsafeBytes { records.append(essential: type, socket: id, flags: flags, $0) }
        publish(&records)
    }

    /// Tells the script what goes on, if it wants to know.
    func debugLine(_ line: @autoclosure () -> String, _ records: inout EventRecords) {
        guard options.debug else { return }
        records.append(line: replacingControlCharacters(line()), socket: id)
        publish(&records)
    }
}
