// Names to addresses: a lookup runs on a thread of its own, and the loop gets its answer as a command. Called by
// ConnectAttempt, on the thread that runs the loop.

import CLinux
import Glibc
import WebSocketProtocol

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
    static func resolve(_ name: HostAndPort, _ token: Poller.Token, _ loop: inout LoopContext) -> Resolution? {
        let addresses = literalAddresses(name)
        guard addresses.isEmpty else { return .addresses(addresses) }
        if loop.lookups.add(token, for: name) {
            let commandQueue = loop.commandQueue
            do throws(SystemError) {
                try startThread { commandQueue.post(.lookupFinished(name, lookUp(name.host, name.port, 0))) }
            } catch {
                commandQueue.post(.lookupFinished(name, .failed(error.description)))
            }
        }
        return nil
    }

    /// What needs no look-up: an address that is written out, and `localhost`.
    static func literalAddresses(_ name: HostAndPort) -> [Address] {
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
