// What both threads share of one websocket, under its lock: its state, and the frames that the script has sent and the
// loop has not taken. Lua's thread appends frames, and writes the first of a burst to the socket itself. The loop takes all
// frames with one exchange of buffers. WriteBuffer is the next owner of the bytes.

import CLinux
import Glibc
import WebSocketProtocol

struct SendQueue: ~Copyable {
    /// Who may write to the socket.
    private enum Writer {
        /// Nothing is queued: Lua's thread, if it has the descriptor.
        case script
        /// The loop, until it finds the queue empty. It wants to be woken when `wakesAt` bytes are queued. When Lua's thread
        /// has written a part of the first frame, the rest of that frame must be written before anything else.
        case loop(wakesAt: Int, firstIsPartlyWritten: Bool)
    }

    /// What the frames are.
    private enum Encoding {
        /// Ready for the wire, and Lua's thread may write to this socket.
        case writable(SocketWriter)
        /// Ready for the wire; the loop alone writes, as with TLS.
        case final
        /// Without masks: the loop compresses them and makes the real frames.
        case uncompressed
    }

    /// Frames of a large message and those behind it.
    private final class Segment {
        var frames = ByteBuffer()

        init(_ frames: consuming ByteBuffer) { self.frames = frames }
    }

    /// The first queued frames.
    private var frames = ByteBuffer()
    /// The frames behind them.
    private var segments: [Segment] = []
    private var segmentBytes = 0
    /// Bytes that the loop took and the kernel did not.
    var inFlightBytes = 0
    /// Number of bytes, of which `flush` is to be told: WebSocket.reportFlushed.
    var flushLimit = 0
    /// What `ws.state` is. Messages are taken while it is `open`.
    private(set) var state = WebSocket.State.closed
    /// Number of the latest connection, as OPEN events count them.
    private(set) var connection: UInt32 = 0
    /// Calls of `connect` and `close` that the loop has not handled yet. While there are any, the script's word on the state
    /// stands, and no connection opens.
    private var pendingCalls = 0
    /// The question of `onattempt` that the loop waits for.
    var question: UInt32?
    private var writer = Writer.script
    private var encoding = Encoding.final
    /// Whether the frames here have masks: those of a client, but for the ones that are still to be compressed.
    private var masks = true
    /// How messages are compressed, if each is on its own: then one compressed frame fits many connections (Broadcast).
    private(set) var independentDeflate: DeflateParameters.Direction?
    /// Whether the loop watches what the peer acknowledges. If not, the next direct write wakes it.
    private var isAcknowledgementWatched = false
    /// When Lua's thread has written to the socket last, to a tick of the clock.
    private(set) var lastDirectWrite: Nanoseconds = 0

    /// A message of at least this many bytes is copied without the lock.
    static let largeMessage = 256 << 10
    /// Bytes that Lua's thread writes to the socket at most in one call: it holds the lock meanwhile.
    private static let directWriteLimit = 2 << 20

    // Bytes that are in memory: the sums can't overflow.

    private var queuedBytes: Int { frames.count &+ segmentBytes }
    /// Bytes that the kernel has not taken.
    var count: Int { queuedBytes &+ inFlightBytes }

    /// Whether there is a connection, or a part of one that is being closed.
    private(set) var isConnected = false

    // MARK: - Messages, on Lua's thread

    /// Adds one message. Sets `wakes` when the loop must be woken.
    mutating func append(
        _ opcode: Opcode, _ parts: UnsafeBufferPointer<UnsafeRawBufferPointer>, count: Int, limit: Int,
        random: inout RandomPool, directly: Bool, wakes: inout Bool
    ) -> SendResult {
        guard accepts(count, limit) else { return refusal(count, limit) }
        var mask: Mask?
        if masks {
            guard let key = random.next() else { return Self.noMask }
            mask = Mask(key: key)
        }
        let isAppended =
            segments.isEmpty
            ? FrameEncoder.append(opcode, parts, count: count, mask: mask, to: &frames)
            : appendBehindSegments(opcode, parts, count: count, mask: mask)
        guard isAppended else { return Self.noMemory(count) }
        send(directly: directly, &wakes)
        return .sent
    }

    /// Adds one frame, made for many connections of a server. Sets `wakes` as `append` does.
    mutating func append(frame: UnsafeRawBufferPointer, limit: Int, directly: Bool, wakes: inout Bool) -> Bool {
        guard accepts(frame.count, limit) else { return false }
        if let last = segments.last {
            guard last.frames.append(frame) else { return false }
            segmentBytes += frame.count
        } else {
            guard frames.append(frame) else { return false }
        }
        send(directly: directly, &wakes)
        return true
    }

    @inline(never)
    private mutating func appendBehindSegments(
        _ opcode: Opcode, _ parts: UnsafeBufferPointer<UnsafeRawBufferPointer>, count: Int, mask: Mask?
    ) -> Bool {
        guard let last = segments.last else { return false }
        let before = last.frames.count
        defer { segmentBytes += last.frames.count - before }
        return FrameEncoder.append(opcode, parts, count: count, mask: mask, to: &last.frames)
    }

    /// Begins a large message: checks the limits and lends it free memory. Returns why it is refused.
    mutating func begin(
        _ count: Int, limit: Int, random: inout RandomPool, _ frame: inout LargeFrame
    ) -> SendResult? {
        guard accepts(count, limit) else { return refusal(count, limit) }
        frame.connection = connection
        if masks {
            guard let key = random.next() else { return Self.noMask }
            frame.mask = Mask(key: key)
        }
        if frames.isEmpty, segments.isEmpty { swap(&frames, &frame.buffer) }
        return nil
    }

    /// Adds the frame, which is complete. False when the connection that it was made for is gone.
    mutating func append(_ frame: inout LargeFrame, directly: Bool, wakes: inout Bool) -> Bool {
        guard state == .open, frame.connection == connection else { return false }
        if frames.isEmpty, segments.isEmpty {
            swap(&frames, &frame.buffer)
        } else {
            segmentBytes += frame.buffer.count
            var buffer = ByteBuffer()
            swap(&buffer, &frame.buffer)
            segments.append(Segment(buffer))
        }
        send(directly: directly, &wakes)
        return true
    }

    /// Writes the frames to the socket if Lua's thread may, and wakes the loop for the rest.
    @inline(__always)
    private mutating func send(directly: Bool, _ wakes: inout Bool) {
        switch writer {
        case .script:
            if directly, case .writable(let socket) = encoding {
                write(to: socket, &wakes)
            } else {
                writer = .loop(wakesAt: .max, firstIsPartlyWritten: false)
                wakes = true
            }
        case .loop(let wakesAt, let firstIsPartlyWritten):
            guard queuedBytes >= wakesAt else { return }
            writer = .loop(wakesAt: .max, firstIsPartlyWritten: firstIsPartlyWritten)
            wakes = true
        }
    }

    @inline(__always)
    private mutating func write(to socket: SocketWriter, _ wakes: inout Bool) {
        let bytes = UnsafeRawBufferPointer(
            start: frames.bytes.baseAddress, count: min(frames.count, Self.directWriteLimit))
        let written = socket.write(bytes)
        // The loop meets the same error, and handles it.
        if written > 0 {
            frames.didRead(written)
            lastDirectWrite = lastTick()
            if frames.isEmpty {
                wakes = !isAcknowledgementWatched
                isAcknowledgementWatched = true
                return
            }
        }
        writer = .loop(wakesAt: .max, firstIsPartlyWritten: written > 0)
        wakes = true
    }

    @inline(__always)
    private func accepts(_ count: Int, _ limit: Int) -> Bool {
        let queued = self.count
        return state == .open && queued <= limit && count <= limit &- queued
    }

    /// Why no message of this size is taken now.
    @inline(never)
    private func refusal(_ count: Int, _ limit: Int) -> SendResult {
        guard state == .open else { return .notOpen }
        guard count <= limit else { return .failed("\(count) bytes are more than maxbuffered (\(limit))") }
        return .failed(
            "\(count) bytes beside the \(self.count) that wait are more than maxbuffered (\(limit)); "
                + "send less, or wait until bufferedamount has fallen")
    }

    private static var noMask: SendResult {
        .failed("no random bytes for the mask: \(SystemError.message(errno))")
    }

    static func noMemory(_ count: Int) -> SendResult { .failed("out of memory for \(count) bytes") }

    // MARK: - The state. Script and loop meet here: whichever comes second sees the first.

    /// The script calls `connect`.
    mutating func scriptConnects() {
        pendingCalls += 1
        if state == .closed { state = .connecting }
    }

    /// The script calls `close`.
    mutating func scriptCloses() {
        pendingCalls += 1
        switch state {
        case .open, .closing: state = .closing
        case .closed, .connecting, .waiting: state = .closed
        }
    }

    /// Whether the loop waits for this question, and the script has called neither `connect` nor `close` since.
    func isCurrent(_ question: UInt32) -> Bool { pendingCalls == 0 && self.question == question }

    /// The loop handles a call. (When the engine has ended meanwhile, all of them were dropped.)
    mutating func callHandled() { pendingCalls = max(pendingCalls - 1, 0) }

    /// The loop's word on the state.
    mutating func setState(_ state: WebSocket.State) {
        if pendingCalls == 0 { self.state = state }
    }

    /// The loop has a connection. False when the script has called `close` for it already.
    /// - Parameter independent: how messages are compressed, if each is on its own.
    mutating func open(
        direct: SocketWriter?, compresses: Bool, role: Role = .client,
        independent: DeflateParameters.Direction? = nil
    ) -> Bool {
        guard pendingCalls == 0 else { return false }
        assert(queuedBytes == 0, "frames of an earlier connection")
        state = .open
        connection &+= 1
        isConnected = true
        encoding = compresses ? .uncompressed : direct.map { .writable($0) } ?? .final
        masks = role.masks && !compresses
        independentDeflate = compresses ? independent : nil
        return true
    }

    /// No message is taken any more. Queued ones still leave.
    mutating func stop() {
        if state == .open { state = .closing }
    }

    /// The connection is gone. Returns how many bytes never left.
    mutating func close() -> Int {
        stop()
        let unsent = count
        isConnected = false
        writer = .script
        encoding = .final
        isAcknowledgementWatched = false
        lastDirectWrite = 0
        inFlightBytes = 0
        frames.removeAll(keepingAtMost: 0)
        segments = []
        segmentBytes = 0
        return unsent
    }

    /// The engine is gone, with the connection and all calls. Returns whether there was an open connection.
    mutating func engineEnded() -> Bool {
        let wasOpen = state == .open || state == .closing
        _ = close()
        pendingCalls = 0
        question = nil
        state = .closed
        return wasOpen
    }

    // MARK: - Writing, on the thread that runs the loop

    /// Gives the loop the right to write. If Lua's thread has written a part of the first frame, the rest of it moves to
    /// `buffer`, so that no control frame can come into the middle of it.
    mutating func takeOwnership(_ buffer: inout ByteBuffer) {
        switch writer {
        case .script: writer = .loop(wakesAt: .max, firstIsPartlyWritten: false)
        case .loop(_, firstIsPartlyWritten: true):
            take(&buffer)
        case .loop(_, firstIsPartlyWritten: false): break
        }
    }

    /// Exchanges the queued frames for the empty `buffer`. If there are none, the loop's right to write ends.
    mutating func take(_ buffer: inout ByteBuffer) {
        assert(buffer.isEmpty, "frames that are not written yet")
        swap(&frames, &buffer)
        if !segments.isEmpty {
            let next = segments.removeFirst()
            segmentBytes -= next.frames.count
            swap(&frames, &next.frames)
        }
        inFlightBytes = buffer.count
        writer = buffer.isEmpty ? .script : .loop(wakesAt: .max, firstIsPartlyWritten: false)
    }

    /// Everything taken is written. Returns true when the loop may wait for more: it is woken at `threshold` queued bytes.
    /// False when that many are queued already.
    mutating func coalesce(until threshold: Int) -> Bool {
        inFlightBytes = 0
        guard queuedBytes < threshold else { return false }
        writer = .loop(wakesAt: threshold, firstIsPartlyWritten: false)
        return true
    }

    /// The loop watches what the peer acknowledges, or stops doing so.
    mutating func watchAcknowledgements(_ isWatched: Bool) { isAcknowledgementWatched = isWatched }

    /// Frees large memory that is not in use.
    mutating func freeIdleMemory() {
        if frames.isEmpty { frames.removeAll(keepingAtMost: IdleMemory.capacity) }
    }
}
