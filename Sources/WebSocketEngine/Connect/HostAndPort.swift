// The name and the port that Resolver looks up. A value, used on any thread.

struct HostAndPort: Hashable, Sendable {
    let host: String
    /// Of an IPv6 address.
    var zone: String?
    let port: Int
}
