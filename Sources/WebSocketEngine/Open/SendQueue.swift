// What a script has sent and the kernel has not: filled on Lua's thread, emptied on the engine's, each
// under its lock. A burst costs one lock a message here, and one exchange of buffers for all of it there.

import CLinux
import Glibc
import WebSocketProtocol

public enum SendResult: Equatable, Sendable {
    case sent
    case notOpen
    /// Why nothing of the message was taken.
    case failed(String)
}

/// One large message as a frame, made on Lua's thread without the sendQueue's lock: to copy it takes so long that the
/// engine must not wait for it.
struct LargeFrame: ~Copyable {
    var buffer = ByteBuffer()
    /// Which connection it was made for.
    fileprivate var connection: UInt32 = 0
    /// nil with compression: the engine makes the real frame.
    fileprivate(set) var mask: Mask?
}

struct SendQueue: ~Copyable {
    /// Frames of a large message and those behind it.
    private final class Segment {
        var frames = ByteBuffer()

        init(_ frames: consuming ByteBuffer) { self.frames = frames }
    }

    /// Frames that wait. With compression they have no mask: the engine still has to make the real ones.
    private var frames = ByteBuffer()
    /// Frames behind them.
    private var segments: [Segment] = []
    private var segmentBytes = 0
    /// Bytes that the engine took and the kernel did not.
    var taken = 0
    /// Whether the connection is open and no Close was asked for.
    private(set) var isOpen = false
    /// Counts connections, as OPEN events do.
    private(set) var connection: UInt32 = 0
    /// Calls of `connect` and `close` that the engine has not dealt with yet. While there are any, the script's word on the
    /// state stands, and no connection opens.
    private(set) var callsToCome = 0
    /// Whether the engine has been told that there is something, and will look until there is nothing.
    private var isScheduled = false
    /// How many bytes the engine lets come together before it wants to be told again.
    private var enough = Int.max
    /// The socket, while Lua's thread may write to it: open, and without TLS or compression.
    private var direct: Int32?
    /// Whether the engine will look at what the peer acknowledges: if not, it is told of the next write.
    private var isWatched = false
    /// When Lua's thread wrote to the socket last; kept only with `pinginterval`.
    private(set) var writtenAt: Nanoseconds?
    private var keepsTimes = false
    /// Whether Lua's thread has written some of the first frame.
    private var isBegun = false
    /// Whether frames wait for compression.
    private var isDeflating = false

    /// A message of at least this many bytes is copied without the lock.
    static let largeMessage = 256 << 10
    /// Bytes that Lua's thread writes to the socket at most in one call: it holds the lock meanwhile.
    private static let directLimit = 2 << 20

    var count: Int { frames.count + segmentBytes + taken }

    /// Adds one message. `wakes` tells that the engine must be told.
    mutating func append(
        _ opcode: Opcode, _ parts: UnsafeBufferPointer<UnsafeRawBufferPointer>, count: Int, limit: Int,
        random: inout RandomPool, directly: Bool, wakes: inout Bool
    ) -> SendResult {
        guard isOpen, self.count <= limit, count <= limit - self.count else { return refusal(count, limit) }
        var mask: Mask?
        if !isDeflating {
            guard let key = random.next() else { return Self.noMask }
            mask = Mask(key: key)
        }
        let isAppended =
            segments.isEmpty
            ? FrameEncoder.append(opcode, parts, count: count, mask: mask, to: &frames)
            : appendBehindSegments(opcode, parts, count: count, mask: mask)
        guard isAppended else { return Self.noMemory(count) }
        if directly, writeDirectly(&wakes) { return .sent }
        schedule(&wakes)
        return .sent
    }

    /// Has the engine told, unless it will look by itself.
    @inline(__always)
    private mutating func schedule(_ wakes: inout Bool) {
        guard !isScheduled || frames.count + segmentBytes >= enough else { return }
        isScheduled = true
        enough = .max
        wakes = true
    }

    private mutating func appendBehindSegments(
        _ opcode: Opcode, _ parts: UnsafeBufferPointer<UnsafeRawBufferPointer>, count: Int, mask: Mask?
    ) -> Bool {
        guard let last = segments.last else { return false }
        let before = last.frames.count
        defer { segmentBytes += last.frames.count - before }
        return FrameEncoder.append(opcode, parts, count: count, mask: mask, to: &last.frames)
    }

    /// Why no message of this size is taken now.
    @inline(never)
    private func refusal(_ count: Int, _ limit: Int) -> SendResult {
        guard isOpen else { return .notOpen }
        guard count <= limit else { return .failed("\(count) bytes are more than maxbuffered (\(limit))") }
        return .failed(
            "\(count) bytes beside the \(self.count) that wait are more than maxbuffered (\(limit)); "
                + "send less, or wait until bufferedamount has fallen")
    }

    private static var noMask: SendResult {
        .failed("no random bytes for the mask: \(SystemError.message(errno))")
    }

    static func noMemory(_ count: Int) -> SendResult { .failed("out of memory for \(count) bytes") }

    /// Writes to the socket at once if that is allowed. Returns whether nothing waits any more; then the engine must only be
    /// told to look at what the peer acknowledges, if it does not.
    @inline(__always)
    private mutating func writeDirectly(_ wakes: inout Bool) -> Bool {
        guard !isScheduled, let direct else { return false }
        let written = ws_send(
            direct, frames.bytes.baseAddress, min(frames.count, Self.directLimit), Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
        // An error shows itself to the engine as well, which deals with it.
        guard written > 0 else { return false }
        frames.consume(written)
        if keepsTimes { writtenAt = now() }
        isBegun = !frames.isEmpty
        if isBegun { return false }
        if !isWatched {
            isWatched = true
            wakes = true
        }
        return true
    }

    // MARK: - Large messages

    /// Begins a large message: checks what can be checked, and takes memory that is free.
    mutating func begin(
        _ count: Int, limit: Int, random: inout RandomPool, _ frame: inout LargeFrame
    ) -> SendResult? {
        guard isOpen, self.count <= limit, count <= limit - self.count else { return refusal(count, limit) }
        frame.connection = connection
        if !isDeflating {
            guard let key = random.next() else { return Self.noMask }
            frame.mask = Mask(key: key)
        }
        if frames.isEmpty, segments.isEmpty { swap(&frames, &frame.buffer) }
        return nil
    }

    /// Adds the frame, which is complete. False when the connection that it was made for is gone.
    mutating func append(_ frame: inout LargeFrame, directly: Bool, wakes: inout Bool) -> Bool {
        guard isOpen, frame.connection == connection else { return false }
        if frames.isEmpty, segments.isEmpty {
            swap(&frames, &frame.buffer)
        } else {
            segmentBytes += frame.buffer.count
            var buffer = ByteBuffer()
            swap(&buffer, &frame.buffer)
            segments.append(Segment(buffer))
        }
        if directly, writeDirectly(&wakes) { return true }
        schedule(&wakes)
        return true
    }

    // MARK: - Opening and closing

    /// The engine has a connection. False when the script has called `close` for it already.
    mutating func open(direct: Int32?, deflating: Bool, keepsTimes: Bool) -> Bool {
        guard callsToCome == 0 else { return false }
        isOpen = true
        connection &+= 1
        isDeflating = deflating
        self.direct = direct
        self.keepsTimes = keepsTimes
        return true
    }

    /// The script calls `connect`.
    mutating func connectByScript() { callsToCome += 1 }

    /// The script calls `close`. Returns whether the connection was open.
    mutating func closeByScript() -> Bool {
        callsToCome += 1
        defer { isOpen = false }
        return isOpen
    }

    /// The engine deals with a call. (An engine that has ended meanwhile has let go of all of them.)
    mutating func callArrived() { callsToCome = max(callsToCome - 1, 0) }

    /// No message is taken any more; those that were still leave.
    mutating func stop() { isOpen = false }

    /// The connection is gone: returns how many bytes never left.
    mutating func close() -> Int {
        let unsent = count
        isOpen = false
        isScheduled = false
        isBegun = false
        isWatched = false
        writtenAt = nil
        direct = nil
        taken = 0
        frames.removeAll(keepingAtMost: 0)
        segments = []
        segmentBytes = 0
        return unsent
    }

    /// The engine is gone, with the connection and all commands.
    mutating func engineEnded() {
        _ = close()
        callsToCome = 0
    }

    // MARK: - The engine's side

    /// The engine begins to write: until it finds nothing left, Lua's thread must not. A frame that it has begun goes to
    /// `buffer`, which is empty then: nothing of the engine's own may come into the middle of it.
    mutating func claim(_ buffer: inout ByteBuffer) {
        isScheduled = true
        if isBegun { take(&buffer) }
    }

    /// All that was taken is written, and the engine looks again in a moment, or when so much waits; false when it does
    /// already.
    mutating func linger(until enough: Int) -> Bool {
        taken = 0
        guard frames.count + segmentBytes < enough else { return false }
        self.enough = enough
        return true
    }

    /// Exchanges what waits for `buffer`, which is empty; `else` there is nothing, and the claim ends.
    mutating func take(_ buffer: inout ByteBuffer) {
        swap(&frames, &buffer)
        if !segments.isEmpty {
            let next = segments.removeFirst()
            segmentBytes -= next.frames.count
            swap(&frames, &next.frames)
        }
        isBegun = false
        enough = .max
        taken = buffer.count
        if buffer.isEmpty { isScheduled = false }
    }

    /// The engine looks at what the peer acknowledges, or does so no more.
    mutating func watch(_ isWatched: Bool) { self.isWatched = isWatched }

    mutating func shrink(keepingAtMost limit: Int) {
        if frames.isEmpty { frames.removeAll(keepingAtMost: limit) }
    }
}
