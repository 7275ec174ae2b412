// Writes to a connected socket, which the host may have closed meanwhile; another socket may have got its number. Transport makes
// it; used on the thread that runs the loop, and by SendQueue on Lua's.

import CLinux
import Glibc

/// To be used only while the Transport is there.
struct SocketWriter {
    let descriptor: DescriptorReference
    /// See `ws_mark_socket`; 0 for a Unix socket.
    private let mark: UInt32
    // Without MSG_NOSIGNAL a closed socket raises SIGPIPE, which ends the host.
    private static let flags = Int32(MSG_NOSIGNAL | MSG_DONTWAIT)

    /// - Parameter isTCP: false for a Unix socket.
    init(_ descriptor: DescriptorReference, isTCP: Bool) {
        self.descriptor = descriptor
        mark = isTCP ? ws_mark_socket(descriptor.number) : 0
    }

    /// Returns how many bytes the kernel took; or -1 and `errno`, which is EBADF if the number is not ours any more. A marked
    /// socket needs no system call more for that.
    @inline(__always)
    func write(_ bytes: UnsafeRawBufferPointer) -> Int {
        guard mark != 0 else { return write(bytes, afterRefusal: EINVAL) }
        let written = ws_send_marked(descriptor.number, mark, bytes.baseAddress, bytes.count, Self.flags)
        return written >= 0 ? written : write(bytes, afterRefusal: errno)
    }

    /// Any error may be that of another socket.
    @inline(never)
    private func write(_ bytes: UnsafeRawBufferPointer, afterRefusal number: Int32) -> Int {
        guard descriptor.isOurs else {
            errno = EBADF
            return -1
        }
        switch number {
        // An old kernel, or a sandbox, has refused the mark.
        case EINVAL, EPERM, EACCES, ENOSYS:
            return ws_send(descriptor.number, bytes.baseAddress, bytes.count, Self.flags)
        default:
            errno = number
            return -1
        }
    }
}
