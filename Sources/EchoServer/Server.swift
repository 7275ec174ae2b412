// Accepts connections and calls each one's `ready` when its socket is ready: one poll call, one thread, no blocking I/O.

import CLinux
import Glibc

struct Server {
    private let listener: Int32
    let port: UInt16
    private var clients: [Client] = []

    /// Listens on 127.0.0.1. Returns nil on failure, with the reason in errno.
    init?(port: UInt16) {
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        var on: Int32 = 1
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = INADDR_LOOPBACK.bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let listens = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && listen(listener, 128) == 0 && getsockname(listener, $0, &length) == 0
            }
        }
        guard listens else { return nil }
        self.port = UInt16(bigEndian: address.sin_port)
    }

    mutating func turn() {
        var descriptors = [pollfd(fd: listener, events: Int16(POLLIN), revents: 0)]
        descriptors += clients.map {
            pollfd(fd: $0.number, events: Int16($0.wantsWrite ? POLLOUT : POLLIN), revents: 0)
        }
        guard poll(&descriptors, nfds_t(descriptors.count), -1) > 0 else { return }
        for (client, descriptor) in zip(clients, descriptors.dropFirst()) where descriptor.revents != 0 {
            client.ready()
        }
        clients.removeAll { $0.isOver }
        if descriptors[0].revents != 0 {
            let number = ws_accept(listener, nil, nil)
            if number >= 0 { clients.append(Client(number)) }
        }
    }
}
