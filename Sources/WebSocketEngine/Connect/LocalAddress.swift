// The option `localaddress`: the address of this machine that a websocket's TCP sockets are bound to before they connect.
// A value; parsed on Lua's thread, used by ConnectAttempt on the thread that runs the loop.

import CLinux
import Glibc
import WebSocketProtocol

struct LocalAddress: Sendable {
    /// As the script has written it.
    let description: String
    private let address: IPAddress
    /// Of a link-local IPv6 address: the name or number of its network interface.
    private let zone: String?

    init(_ text: String) throws(Options.Failure) {
        let parts = text.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = IPAddress(parts[0]), !text.utf8.contains(0) else {
            throw Options.Failure("must be an IPv4 or IPv6 address, not '\(quotedForError(text))'")
        }
        if parts.count == 2, !address.isLinkLocal || parts[1].isEmpty {
            throw Options.Failure("has a zone that means nothing: '\(quotedForError(text))'")
        }
        if parts.count == 1, address.isLinkLocal {
            throw Options.Failure("needs a zone, as in \(quotedForError(text))%eth0")
        }
        self.address = address
        zone = parts.count == 2 ? String(parts[1]) : nil
        description = text
    }

    /// The address to bind to, with any port. Throws if this machine has no such network interface.
    func socketAddress() throws(SystemError) -> Address {
        guard let zone else { return Address(address) }
        guard let index = zoneIndex(zone) else { throw SystemError("if_nametoindex", ENODEV) }
        return Address(address, zone: index)
    }
}
