// A socket address: IPv4, IPv6 or a Unix socket, as connect() takes it. A value, used on any thread.

import CLinux
import Glibc
import WebSocketProtocol

struct Address: Sendable, Equatable {
    private let storage: [UInt8]
    let family: Int32

    init(_ address: UnsafePointer<sockaddr>, _ length: socklen_t) {
        storage = Array(UnsafeRawBufferPointer(start: address, count: Int(length)))
        family = Int32(address.pointee.sa_family)
    }

    /// - Parameter zone: of an IPv6 address: the number of a network interface; 0: none.
    init(_ address: IPAddress, zone: UInt32 = 0, port: UInt16 = 0) {
        if address.isIPv6 {
            var socket = sockaddr_in6()
            socket.sin6_family = sa_family_t(AF_INET6)
            socket.sin6_port = port.bigEndian
            socket.sin6_scope_id = zone
            withUnsafeMutableBytes(of: &socket.sin6_addr) { $0.copyBytes(from: address.bytes) }
            storage = withUnsafeBytes(of: socket) { Array($0) }
            family = AF_INET6
        } else {
            var socket = sockaddr_in()
            socket.sin_family = sa_family_t(AF_INET)
            socket.sin_port = port.bigEndian
            withUnsafeMutableBytes(of: &socket.sin_addr) { $0.copyBytes(from: address.bytes) }
            storage = withUnsafeBytes(of: socket) { Array($0) }
            family = AF_INET
        }
    }

    /// The address of a Unix socket; nil if the path is longer than the system allows.
    init?(path: String) {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return nil }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        storage = withUnsafeBytes(of: address) { Array($0) }
        family = AF_UNIX
    }

    func withSockaddr<R>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
        storage.withUnsafeBytes {
            body($0.baseAddress!.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count))
        }
    }

    /// `127.0.0.1:80`, `[::1]:80`, `[fe80::1%eth0]:80`, `/path.sock`.
    var description: String {
        if let path { return path }
        guard let (host, port) = names else { return "?" }
        // An IPv4 client of a server that listens at every address (RFC 4291 section 2.5.5.2).
        let mapped = "::ffff:"
        if host.hasPrefix(mapped), host.utf8.contains(UInt8(ascii: ".")) {
            return "\(host.dropFirst(mapped.count)):\(port)"
        }
        return family == AF_INET6 ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// Of a Unix socket; "" for a client's that has no file. nil for an IP address.
    var path: String? {
        guard family == AF_UNIX else { return nil }
        return String(
            decoding: storage.dropFirst(MemoryLayout<sa_family_t>.size).prefix { $0 != 0 }, as: UTF8.self)
    }

    /// 0 for a Unix socket.
    var port: UInt16 {
        guard family != AF_UNIX else { return 0 }
        // The same place in sockaddr_in and sockaddr_in6.
        return withSockaddr { address, _ in
            UInt16(bigEndian: UnsafeRawPointer(address).load(as: sockaddr_in.self).sin_port)
        }
    }

    /// `127.0.0.1`, `::1`, `fe80::1` without its zone.
    var host: String? { (names?.host.utf8.prefix { $0 != UInt8(ascii: "%") }).map { String(Substring($0)) } }

    private var names: (host: String, port: String)? {
        // An address in numbers is shorter than NI_MAXHOST, and this much is on the stack.
        let hostSize = Int(INET6_ADDRSTRLEN) + 1 + Int(IF_NAMESIZE)
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: hostSize + Int(NI_MAXSERV)) { text in
            let host = text.baseAddress!
            let port = host + hostSize
            let status = withSockaddr {
                getnameinfo(
                    $0, $1, host, socklen_t(hostSize), port, socklen_t(NI_MAXSERV), NI_NUMERICHOST | NI_NUMERICSERV)
            }
            return status == 0 ? (String(cString: host), String(cString: port)) : nil
        }
    }

    /// The other end of a connected socket; nil if there is none any more, or if the socket is connected to itself: a
    /// socket that connects to a local port without a listener may get that port as its own.
    static func peer(of socket: borrowing FileDescriptor) -> Address? {
        let number = socket.number
        let peer = name { getpeername(number, $0, $1) }
        if peer?.family == AF_UNIX { return peer }
        return peer == own(of: socket) ? nil : peer
    }

    /// This end of a socket.
    static func own(of socket: borrowing FileDescriptor) -> Address? {
        let number = socket.number
        return name { getsockname(number, $0, $1) }
    }

    private static func name(
        _ call: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) -> Address? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                call($0, &length) == 0 ? Address($0, length) : nil
            }
        }
    }
}

/// The number of an IPv6 zone, which is the name of a network interface or already its number (RFC 4007 section 11.2); nil
/// if this machine has no such interface.
func zoneIndex(_ zone: String) -> UInt32? {
    let index = if_nametoindex(zone)
    return index > 0 ? index : UInt32(zone)
}
