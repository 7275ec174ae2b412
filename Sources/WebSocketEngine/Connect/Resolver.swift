// Names, and paths of Unix sockets, to addresses. The system's resolver blocks, and so does a disk, so each lookup has a thread
// of its own, 128 at most: the other names wait in order. ConnectAttempt asks, on the thread that runs the loop; the answer
// comes to the loop as a command. Only `lookUp` and `findSocket` run on the other threads.

import CLinux
import Glibc
import Synchronization
import WebSocketProtocol

struct Resolver {
    /// Lookups at the same time. One that the system does not end keeps its thread; the others go on. While a DNS
    /// server is silent, a hundred names must not delay one that the system knows without it.
    static let maximumThreads = 128

    /// The attempts that wait for a name, by their tokens.
    private var waiting = PendingLookups<HostAndPort>(maximumThreads: maximumThreads)
    private let lookUp: @Sendable (HostAndPort) -> Resolution

    init(lookUp: @escaping @Sendable (HostAndPort) -> Resolution = { getAddresses(of: $0, flags: 0) }) {
        self.lookUp = lookUp
    }

    /// The addresses of a host that needs no lookup; else nil, and the answer comes later as a command for this token.
    mutating func resolve(_ name: HostAndPort, _ token: Poller.Token, _ commandQueue: CommandQueue) -> Resolution? {
        if let known = Self.knownAddresses(of: name) { return known }
        waiting.add(token, for: name)
        startThreads(commandQueue)
        return nil
    }

    /// The attempt of this token has ended. A name that nobody else waits for is not looked up any more.
    mutating func cancel(_ name: HostAndPort, _ token: Poller.Token) { waiting.cancel(token, for: name) }

    /// The answer for a name has come. Returns the attempts that wait for it; the next name gets the thread's place.
    mutating func finished(_ name: HostAndPort, _ commandQueue: CommandQueue) -> [Poller.Token] {
        defer { startThreads(commandQueue) }
        return waiting.finished(name)
    }

    private mutating func startThreads(_ commandQueue: CommandQueue) {
        while let name = waiting.next() {
            do throws(SystemError) {
                try startThread { [lookUp] in
                    let resolution = name.isPath ? Self.findSocket(name.host) : lookUp(name)
                    commandQueue.post(.lookupFinished(name, resolution))
                }
            } catch {
                commandQueue.post(.lookupFinished(name, .failed(error.description)))
            }
        }
    }

    /// The addresses of what needs no lookup; else nil.
    private static func knownAddresses(of name: HostAndPort) -> Resolution? {
        if name.isPath { return ws_is_path_cached(name.host) ? socketAddress(name.host) : nil }
        if let zone = name.zone { return zonedAddress(name, zone) }
        let addresses = literalAddresses(name)
        return addresses.isEmpty ? nil : .addresses(addresses)
    }

    private static func socketAddress(_ path: String) -> Resolution {
        let address = Address(path: path)
        assert(address != nil, "WebSocketURL refuses longer paths")
        return .addresses(address.map { [$0] } ?? [])
    }

    /// Waits until the file system has answered for the path: connect() would, on the thread that runs the loop. What it has
    /// answered connect() finds out.
    private static func findSocket(_ path: String) -> Resolution {
        _ = FileStamp(path)
        return socketAddress(path)
    }

    /// The addresses of a host that is one itself, or that is this machine (`localhost`).
    static func literalAddresses(_ name: HostAndPort) -> [Address] {
        let literals = isLocalhost(name.host) ? ["127.0.0.1", "::1"] : [name.host]
        return literals.flatMap { literal -> [Address] in
            let result = getAddresses(of: HostAndPort(host: literal, port: name.port), flags: AI_NUMERICHOST)
            return if case .addresses(let addresses) = result { addresses } else { [] }
        }
    }

    private static func zonedAddress(_ name: HostAndPort, _ zone: String) -> Resolution {
        guard let address = IPAddress(name.host), let index = zoneIndex(zone) else {
            return .failed("this machine has no network interface \(quotedForError(zone))")
        }
        return .addresses([Address(address, zone: index, port: UInt16(truncatingIfNeeded: name.port))])
    }

    private static let isConfigurationRead = Atomic(false)

    /// The C library reads its configuration in the first lookup, and holds a lock meanwhile that fork does not know: a child could
    /// look up no name any more. So it reads it here, while forks are blocked, and this thread reads the file before: no fork
    /// waits for a disk. Later lookups hold the lock for one stat() of the file.
    private static func readConfiguration() {
        guard !isConfigurationRead.load(ordering: .relaxed) else { return }
        _ = try? PEM.read("/etc/resolv.conf")
        ws_start_resolver()
        isConfigurationRead.store(true, ordering: .relaxed)
    }

    /// Asks the system; blocks unless `flags` say that the name is an address. A fork does not wait for the answer.
    private static func getAddresses(of name: HostAndPort, flags: Int32) -> Resolution {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = flags | AI_NUMERICSERV
        if flags & AI_NUMERICHOST == 0 { readConfiguration() }
        var list: UnsafeMutablePointer<addrinfo>?
        let status = name.host.withCString { host in
            String(name.port).withCString { port in Fork.whileAllowed { getaddrinfo(host, port, &hints, &list) } }
        }
        guard status == 0 else {
            return .failed(status == EAI_SYSTEM ? SystemError.message(errno) : String(cString: gai_strerror(status)))
        }
        defer { freeaddrinfo(list) }
        var addresses: [Address] = []
        for entry in sequence(first: list, next: { $0?.pointee.ai_next }) {
            guard let entry, let address = entry.pointee.ai_addr else { break }
            addresses.append(Address(address, entry.pointee.ai_addrlen))
        }
        return .addresses(interleaved(addresses))
    }

    /// RFC 8305 section 4: the address families alternate, beginning with the one that the system put first.
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
