// The option `address` of a server: where it listens. A value; parsed on Lua's thread.

import Glibc
import WebSocketProtocol

struct ListenAddress: Sendable, Equatable {
    enum Place: Sendable, Equatable {
        /// IPv6 and IPv4, each address of this machine.
        case everywhere
        /// 127.0.0.1 and ::1.
        case localhost
        case address(IPAddress, zone: String?)
        case unixSocket(path: String)
    }

    let place: Place
    /// 0: any free one.
    let port: UInt16
    /// As the script has written it.
    let description: String

    init(_ text: String) throws(Options.Failure) {
        description = text
        guard !text.utf8.contains(0) else { throw Self.failure(text, "has a NUL in it") }
        if text.hasPrefix("unix:") {
            let path = String(text.dropFirst("unix:".count))
            guard path.hasPrefix("/"), Address(path: path) != nil else {
                throw Self.failure(text, "must be unix: and the path of a socket, at most 107 bytes from the / on")
            }
            place = .unixSocket(path: path)
            port = 0
            return
        }
        guard let colon = text.utf8.lastIndex(of: UInt8(ascii: ":")),
            let port = UInt16(text[colon...].dropFirst()),
            text.utf8[colon...].dropFirst().allSatisfy({ (0x30...0x39).contains($0) })
        else { throw Self.failure(text, "has no port from 0 to 65535") }
        self.port = port
        place = try Self.place(text[..<colon], text)
    }

    private static func place(_ host: Substring, _ text: String) throws(Options.Failure) -> Place {
        if host.isEmpty || host == "*" { return .everywhere }
        if isLocalhost(host.lowercased()) { return .localhost }
        let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
        let parts = (isBracketed ? host.dropFirst().dropLast() : host)
            .split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = IPAddress(parts[0]), address.isIPv6 == isBracketed else {
            throw failure(text, "must be localhost or an IP address, one of IPv6 in brackets, with a port")
        }
        return .address(address, zone: parts.count == 2 ? String(parts[1]) : nil)
    }

    private static func failure(_ text: String, _ words: String) -> Options.Failure {
        Options.Failure("\(words), as in \"127.0.0.1:9000\" or \":9000\"; it is '\(quotedForError(text))'")
    }
}
