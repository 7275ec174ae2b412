// Writes to a connected socket, which the host may have closed meanwhile; another socket may have got its number. Transport makes
// it; used on the thread that runs the loop, and by SendQueue on Lua's.

import CLinux
import Glibc

/// To be used only while the Transport is there.
struct SocketWriter {
    let descriptor: DescriptorReference
    /// See `ws_make_mark`; 0 for a Unix socket.
    private let mark: UInt32

    /// - Parameter isTCP: false for a Unix socket.
    init(_ descriptor: DescriptorReference, isTCP: Bool) {
        self.descriptor = descriptor
        mark = isTCP ? ws_make_mark(descriptor.number) : 0
    }

    /// Returns how many bytes the kernel took; or -1 and `errno`, which is EBADF if the number is not ours any more. A marked
    /// socket needs no system call more for that.
    @inline(__always)
    func write(_ bytes: UnsafeRawBufferPointer) -> Int {
        // Without MSG_NOSIGNAL a closed socket raises SIGPIPE, which ends the host.
        let flags = Int32(MSG_NOSIGNAL | MSG_DONTWAIT)
        if mark != 0 {
            let written = ws_send_marked(descriptor.number, mark, bytes.baseAddress, bytes.count, flags)
            if written >= 0 || errno != EINVAL && errno != ENOTSOCK { return written }
        }
        return writeUnmarked(bytes, flags)
    }

    @inline(never)
    private func writeUnmarked(_ bytes: UnsafeRawBufferPointer, _ flags: Int32) -> Int {
        guard descriptor.isOurs else {
            errno = EBADF
            return -1
        }
        return ws_send(descriptor.number, bytes.baseAddress, bytes.count, flags)
    }
}
