// Owns one listening socket, and the file of a Unix socket. Made on Lua's thread by Server, which locks each use; the thread
// that runs the loop accepts from it.

import CLinux
import Glibc

/// A connection, and its other end.
struct AcceptedSocket: ~Copyable {
    let descriptor: FileDescriptor
    let peer: Address
}

struct ListeningSocket: ~Copyable {
    private let descriptor: FileDescriptor
    /// Where it listens, with the port that the system has chosen.
    let address: Address
    /// The Unix socket's file, which another server may have replaced.
    private let file: FileIdentity?
    /// Number of the epoll descriptor, once it is registered.
    private var poller: Int32?

    /// Binds and listens.
    static func listen(
        at address: Address, isDual: Bool, _ options: ServerOptions
    ) throws(SystemError) -> ListeningSocket {
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = try FileDescriptor(socket(address.family, type, 0), from: "socket")
        let number = descriptor.number
        func set(_ level: Int32, _ option: Int32, _ value: Int32) throws(SystemError) {
            var value = value
            guard setsockopt(number, level, option, &value, socklen_t(MemoryLayout<Int32>.size)) == 0 else {
                throw SystemError("setsockopt")
            }
        }
        if address.family != AF_UNIX {
            // Pings take the place of TCP's probes.
            Transport.setTCPOptions(number, keepsAlive: options.keepsAlive)
        }
        if let path = address.path {
            try removeStaleSocket(path, address)
        } else {
            // A port whose last connections are in TIME_WAIT is free.
            try set(SOL_SOCKET, SO_REUSEADDR, 1)
            if options.reusePort { try set(SOL_SOCKET, SO_REUSEPORT, 1) }
            if address.family == AF_INET6 { try set(Int32(IPPROTO_IPV6), IPV6_V6ONLY, isDual ? 0 : 1) }
        }
        // A Unix socket's file may be on a slow disk.
        let status = address.withSockaddr { place, size in Fork.whileAllowed { bind(number, place, size) } }
        guard status == 0 else { throw SystemError("bind") }
        guard Glibc.listen(number, Int32(options.backlog)) == 0 else { throw SystemError("listen") }
        // It has the port that the system chose.
        guard let bound = Address.own(of: descriptor) else { throw SystemError("getsockname") }
        let file = address.path.flatMap { path in Fork.whileAllowed { FileIdentity(path: path) } }
        return ListeningSocket(descriptor: descriptor, address: bound, file: file, poller: nil)
    }

    /// -1 when the host has closed it.
    var number: Int32 { descriptor.numberIfOurs }

    /// The number for a registration with epoll, which `stop` ends.
    mutating func register(with poller: Int32) -> Int32 {
        self.poller = poller
        return number
    }

    /// Accepts one connection, as a non-blocking socket.
    func accept() throws(SystemError) -> AcceptedSocket {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return try withUnsafeMutablePointer(to: &storage) { storage throws(SystemError) in
            try storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { peer throws(SystemError) in
                let accepted = Int32(retrying { Int(ws_accept(number, peer, &length)) })
                return AcceptedSocket(
                    descriptor: try FileDescriptor(accepted, from: "accept"), peer: Address(peer, length))
            }
        }
    }

    /// Stops listening at once, also where a forked child still holds the socket, and removes the file of a Unix socket. To be
    /// called once, and not in a child of fork.
    consuming func stop() {
        if descriptor.isOurs {
            if let poller { Poller.remove(descriptor.number, from: poller) }
            shutdown(descriptor.number, Int32(SHUT_RDWR))
        }
        guard let path = address.path, let file else { return }
        Fork.whileAllowed { if FileIdentity(path: path) == file { unlink(path) } }
    }

    // MARK: - Unix sockets

    /// A server that has crashed leaves its socket's file behind: then nobody answers there.
    private static func removeStaleSocket(_ path: String, _ address: Address) throws(SystemError) {
        var status = stat()
        guard Fork.whileAllowed({ lstat(path, &status) }) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return }
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let probe = try FileDescriptor(socket(AF_UNIX, type, 0), from: "socket")
        let number = probe.number
        let result = address.withSockaddr { place, size in Fork.whileAllowed { connect(number, place, size) } }
        guard result != 0, errno == ECONNREFUSED else { return }
        _ = Fork.whileAllowed { unlink(path) }
    }
}
