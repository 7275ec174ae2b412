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

struct Outbox: ~Copyable {
    /// Frames that wait. With compression they have no mask: the engine still has to make the real ones.
    private var frames = ByteBuffer()
    /// Bytes that the engine took and the kernel did not.
    var taken = 0
    /// Whether the connection is open and no Close was asked for.
    private(set) var isOpen = false
    /// Whether the engine has been told that there is something, and will look until there is nothing.
    private var isScheduled = false
    /// How many bytes the engine lets come together before it wants to be told again.
    private var enough = Int.max
    /// The socket, while Lua's thread may write to it: open, and without TLS or compression.
    private var direct: Int32?
    /// Whether Lua's thread has written some of the first frame.
    private var isBegun = false
    /// Whether frames wait for compression.
    private var isDeflating = false

    var count: Int { frames.count + taken }

    /// Adds one message. `wakes` tells that the engine must be told.
    mutating func append(
        _ opcode: Opcode, _ parts: UnsafeBufferPointer<UnsafeRawBufferPointer>, count: Int, limit: Int,
        random: inout RandomPool, directly: Bool, wakes: inout Bool
    ) -> SendResult {
        guard isOpen else { return .notOpen }
        guard count <= limit else { return .failed("\(count) bytes are more than maxbuffered (\(limit))") }
        guard self.count <= limit, count <= limit - self.count else {
            return .failed(
                "\(count) bytes beside the \(self.count) that wait are more than maxbuffered (\(limit)); "
                    + "send less, or wait until bufferedamount has fallen")
        }
        var mask: Mask?
        if !isDeflating {
            guard let key = random.next() else {
                return .failed("no random bytes for the mask: \(SystemError.words(errno))")
            }
            mask = Mask(key: key)
        }
        guard FrameWriter.append(opcode, parts, count: count, mask: mask, to: &frames) else {
            return .failed("out of memory for \(count) bytes")
        }
        if directly, !isScheduled, let direct {
            let written = ws_send(direct, frames.bytes.baseAddress, frames.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
            // An error shows itself to the engine as well, which deals with it.
            if written > 0 { frames.consume(written) }
            if frames.isEmpty { return .sent }
            isBegun = written > 0
        }
        if !isScheduled || frames.count >= enough {
            isScheduled = true
            enough = .max
            wakes = true
        }
        return .sent
    }

    // MARK: - The engine's side

    mutating func open(direct: Int32?, deflating: Bool) {
        isOpen = true
        isDeflating = deflating
        self.direct = direct
    }

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
        guard frames.count < enough else { return false }
        self.enough = enough
        return true
    }

    /// Exchanges what waits for `buffer`, which is empty; `else` there is nothing, and the claim ends.
    mutating func take(_ buffer: inout ByteBuffer) {
        swap(&frames, &buffer)
        isBegun = false
        enough = .max
        taken = buffer.count
        if buffer.isEmpty { isScheduled = false }
    }

    mutating func shrink(keepingAtMost limit: Int) {
        if frames.isEmpty { frames.removeAll(keepingAtMost: limit) }
    }

    /// No message is taken any more; those that were still leave.
    mutating func stop() { isOpen = false }

    /// The connection is gone: returns how many bytes never left.
    mutating func close() -> Int {
        let unsent = count
        isOpen = false
        isScheduled = false
        isBegun = false
        direct = nil
        taken = 0
        frames.removeAll(keepingAtMost: 0)
        return unsent
    }
}
