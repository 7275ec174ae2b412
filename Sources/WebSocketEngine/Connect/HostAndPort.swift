// The name and the port, or the Unix socket, that Resolver looks up. A value, used on any thread.

struct HostAndPort: Hashable, Sendable {
    /// For a Unix socket its path.
    let host: String
    /// Of an IPv6 address.
    var zone: String?
    let port: Int

    /// No name begins with a slash; the path of a Unix socket does.
    var isPath: Bool { host.utf8.first == UInt8(ascii: "/") }
}
