// Writes of Lua's thread to the socket of a connection, which the host may have closed meanwhile; a socket of its own may have
// got the number. Bridge tells what the script is doing, SendQueue writes.

import CLinux
import Glibc

/// Whether Lua's thread may write a message to the socket itself.
public enum DirectWrite: Sendable {
    /// Not the first message of its websocket since the last `poll`: the loop writes it.
    case never
    /// In a callback, which the module has called just now.
    case inCallback
    /// Since the module's last call the host may have done anything, such as close all descriptors to become a daemon.
    case outsideCallback
}

/// A socket that the Transport owns.
struct DirectSocket {
    let descriptor: DescriptorReference
    /// Whether it has the mark of `ws_mark_socket`. A Unix socket can have none.
    private let isMarked: Bool

    init(_ descriptor: DescriptorReference, isMarked: Bool) {
        self.descriptor = descriptor
        self.isMarked = isMarked
    }

    /// Returns how many bytes the kernel took; -1 if none, also if the number is found not to be ours any more. In a callback that
    /// is not looked at, since the turn before has (`Poller.isIntact`); outside it is, without a system call of its own if the
    /// socket is marked. (Looking at a socket that is in no cache takes a quarter of the time of the write.)
    @inline(__always)
    func write(_ bytes: UnsafeRawBufferPointer, _ how: DirectWrite) -> Int {
        let flags = Int32(MSG_NOSIGNAL | MSG_DONTWAIT)
        if how == .outsideCallback {
            if isMarked {
                let written = ws_send_marked(descriptor.number, bytes.baseAddress, bytes.count, flags)
                // Or the kernel is too old for marks.
                if written >= 0 || errno != EINVAL { return written }
            }
            guard descriptor.isOurs else { return -1 }
        }
        return ws_send(descriptor.number, bytes.baseAddress, bytes.count, flags)
    }
}
