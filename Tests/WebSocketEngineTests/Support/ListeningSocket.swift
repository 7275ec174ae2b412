// A listening socket on 127.0.0.1, with a port that the kernel chooses. Owned by LocalServer and Listener, on the thread of the
// test.

import CLinux
import Glibc
import Testing

struct ListeningSocket: ~Copyable {
    let number: Int32
    let port: Int

    /// - Parameter backlog: connections that the kernel takes before `accept`.
    init(backlog: Int32) throws {
        // Other tests start processes, which must not inherit it.
        let number = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        self.number = number
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(number, $0, length) == 0 && listen(number, backlog) == 0 && getsockname(number, $0, &length) == 0
            }
        }
        port = Int(UInt16(bigEndian: address.sin_port))
        try #require(isListening)
    }

    deinit { close(number) }
}
