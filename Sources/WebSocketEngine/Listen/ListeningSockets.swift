// The listening sockets of one server: one, or two for `localhost`, which is 127.0.0.1 and ::1. Server owns them behind its
// lock; made on Lua's thread, used on both.

import Glibc
import WebSocketProtocol

struct ListeningSockets: ~Copyable {
    private var first: ListeningSocket?
    private var second: ListeningSocket?

    /// None, as after `stop`.
    init() {}

    init(_ address: ListenAddress, _ options: ServerOptions) throws(SystemError) {
        func listen(at address: Address, isDual: Bool = false) throws(SystemError) -> ListeningSocket {
            try ListeningSocket.listen(at: address, isDual: isDual, options)
        }
        switch address.place {
        case .unixSocket(let path):
            guard let address = Address(path: path) else { throw SystemError("bind", ENAMETOOLONG) }
            first = try listen(at: address)
        case .address(let ip, let zone):
            var index: UInt32 = 0
            if let zone {
                guard let known = zoneIndex(zone) else { throw SystemError("if_nametoindex", ENODEV) }
                index = known
            }
            first = try listen(at: Address(ip, zone: index, port: address.port))
        case .everywhere:
            do throws(SystemError) {
                first = try listen(at: Address(Self.anyIPv6, port: address.port), isDual: true)
            } catch {
                guard Self.isWithoutIPv6(error) else { throw error }
                first = try listen(at: Address(Self.anyIPv4, port: address.port))
            }
        case .localhost: try listenAtLocalhost(address.port, listen)
        }
    }

    private static let anyIPv6 = IPAddress("::")!
    private static let anyIPv4 = IPAddress("0.0.0.0")!
    private static let loopbackIPv6 = IPAddress("::1")!
    private static let loopbackIPv4 = IPAddress("127.0.0.1")!
    /// How often a free port of IPv4 is tried that IPv6 must have free, too.
    private static let attempts = 16

    private static func isWithoutIPv6(_ error: SystemError) -> Bool {
        [EAFNOSUPPORT, EADDRNOTAVAIL, EPROTONOSUPPORT].contains(error.number)
    }

    private mutating func listenAtLocalhost(
        _ port: UInt16, _ listen: (Address, Bool) throws(SystemError) -> ListeningSocket
    ) throws(SystemError) {
        for attempt in 1...Self.attempts {
            let socket = try listen(Address(Self.loopbackIPv4, port: port), false)
            do throws(SystemError) {
                second = try listen(Address(Self.loopbackIPv6, port: socket.address.port), false)
            } catch {
                if error.number == EADDRINUSE, port == 0, attempt < Self.attempts { continue }
                guard Self.isWithoutIPv6(error) else { throw error }
            }
            first = consume socket
            return
        }
    }

    /// The address of the first one, in words.
    var description: String {
        switch first {
        case .some(let socket): socket.address.path.map { "unix:\($0)" } ?? socket.address.description
        case .none: ""
        }
    }

    var port: UInt16 {
        switch first {
        case .some(let socket): socket.address.port
        case .none: 0
        }
    }

    /// Of the descriptors.
    var numbers: [Int32] {
        var numbers: [Int32] = []
        switch first {
        case .some(let socket): numbers.append(socket.number)
        case .none: break
        }
        switch second {
        case .some(let socket): numbers.append(socket.number)
        case .none: break
        }
        return numbers
    }

    /// Calls `body` with each socket and its index.
    mutating func forEach(_ body: (inout ListeningSocket, Int) -> Void) {
        if first != nil { body(&first!, 0) }
        if second != nil { body(&second!, 1) }
    }

    /// Accepts a connection from the socket of this index, as `ListeningSocket.accept`.
    func accept(from index: Int) throws(SystemError) -> AcceptedSocket {
        index == 0 ? try Self.accept(from: first) : try Self.accept(from: second)
    }

    private static func accept(from socket: borrowing ListeningSocket?) throws(SystemError) -> AcceptedSocket {
        switch socket {
        case .some(let socket): return try socket.accept()
        // Closed by Lua's thread.
        case .none: throw SystemError("accept", EAGAIN)
        }
    }

    /// Leaves none.
    mutating func takeAll() -> ListeningSockets {
        let all = self
        self = ListeningSockets()
        return all
    }

    /// Closes the sockets.
    consuming func stop() {
        if let socket = first.take() { socket.stop() }
        if let socket = second.take() { socket.stop() }
    }
}
