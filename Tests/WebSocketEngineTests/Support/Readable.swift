// Whether a descriptor is readable, as a loop of the host finds out.

import CLinux
import Glibc

@testable import WebSocketEngine

/// Waits up to `seconds` until the descriptor is readable.
func isReadable(_ number: Int32, within seconds: Double = 0) -> Bool {
    var entry = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
    return retrying { Int(poll(&entry, 1, Int32(seconds * 1000))) } == 1 && entry.revents & Int16(POLLIN) != 0
}
