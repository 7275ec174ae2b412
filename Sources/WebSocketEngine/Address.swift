// Socket addresses, and where they come from: literals at once, names from the system's resolver on a thread
// of its own, so that one which never answers delays nobody.

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

    /// A Unix socket's; nil when the path is longer than one may be.
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

    /// `127.0.0.1:80`, `[::1]:80`, `/path.sock`.
    var description: String {
        guard family != AF_UNIX else {
            let path = storage.dropFirst(MemoryLayout<sa_family_t>.size).prefix { $0 != 0 }
            return String(decoding: path, as: UTF8.self)
        }
        guard let (host, port) = names else { return "?" }
        return family == AF_INET6 ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// `127.0.0.1`, `::1`
    var host: String? { names?.host }

    private var names: (host: String, port: String)? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(NI_MAXHOST + NI_MAXSERV)) { text in
            let host = text.baseAddress!
            let port = host + Int(NI_MAXHOST)
            let status = withSockaddr {
                getnameinfo(
                    $0, $1, host, socklen_t(NI_MAXHOST), port, socklen_t(NI_MAXSERV), NI_NUMERICHOST | NI_NUMERICSERV)
            }
            return status == 0 ? (String(cString: host), String(cString: port)) : nil
        }
    }

    /// The other end of a connected socket; nil when it is connected no more, or to itself: a port of this
    /// machine that nobody listens on can be reached so by chance.
    static func peer(of socket: borrowing FileDescriptor) -> Address? {
        func name(_ call: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32) -> Address? {
            var storage = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            return withUnsafeMutablePointer(to: &storage) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    call($0, &length) == 0 ? Address($0, length) : nil
                }
            }
        }
        let number = socket.number
        let peer = name { getpeername(number, $0, $1) }
        if peer?.family == AF_UNIX { return peer }
        return peer == name { getsockname(number, $0, $1) } ? nil : peer
    }
}

/// What became of a look-up.
enum Resolution: Sendable {
    /// In the order to try them.
    case addresses([Address])
    case failed(String)
}

/// What is looked up.
struct HostAndPort: Hashable, Sendable {
    let host: String
    let port: Int
}

enum Resolver {
    /// The addresses of a host: at once those that are known, else later, as a command to the loop for this token.
    static func resolve(_ name: HostAndPort, _ token: Poller.Token, _ reactor: inout Reactor) -> Resolution? {
        let addresses = known(name)
        guard addresses.isEmpty else { return .addresses(addresses) }
        if reactor.lookups.add(token, for: name) {
            let mailbox = reactor.mailbox
            do throws(SystemError) {
                try onThread { mailbox.post(.resolved(name, lookUp(name.host, name.port, 0))) }
            } catch {
                mailbox.post(.resolved(name, .failed(error.description)))
            }
        }
        return nil
    }

    /// What needs no look-up: an address that is written out, and `localhost`.
    static func known(_ name: HostAndPort) -> [Address] {
        let literals = isLocalhost(name.host) ? ["127.0.0.1", "::1"] : [name.host]
        return literals.flatMap { literal -> [Address] in
            if case .addresses(let addresses) = lookUp(literal, name.port, AI_NUMERICHOST) { addresses } else { [] }
        }
    }

    private static func lookUp(_ host: String, _ port: Int, _ flags: Int32) -> Resolution {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = flags | AI_NUMERICSERV
        var list: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, String(port), &hints, &list)
        guard status == 0 else {
            return .failed(status == EAI_SYSTEM ? SystemError.words(errno) : String(cString: gai_strerror(status)))
        }
        defer { freeaddrinfo(list) }
        var addresses: [Address] = []
        for entry in sequence(first: list, next: { $0?.pointee.ai_next }) {
            guard let entry, let address = entry.pointee.ai_addr else { break }
            addresses.append(Address(address, entry.pointee.ai_addrlen))
        }
        return .addresses(interleaved(addresses))
    }

    /// RFC 8305 section 4: the families take turns, beginning with the one that the resolver put first.
    static func interleaved(_ addresses: [Address]) -> [Address] {
        var first = addresses.filter { $0.family == addresses.first?.family }[...]
        var second = addresses.filter { $0.family != addresses.first?.family }[...]
        var result: [Address] = []
        while let address = first.popFirst() {
            result.append(address)
            if let other = second.popFirst() { result.append(other) }
        }
        return result + second
    }
}
