// The URL of a proxy, split and checked. As for curl, `http://` may be left out. Pure; used on Lua's thread for the
// option and on the loop thread for the environment.

/// Its description has no user and password, so that no error text shows them.
public struct Proxy: Hashable, Sendable, CustomStringConvertible {
    public struct Failure: Error, Equatable, Sendable {
        /// Text for people. It names the proxy, without user and password.
        public let reason: String
    }

    /// The raw value is the URL's scheme.
    public enum Kind: String, Sendable {
        case http
        /// We resolve the host's name.
        case socks5
        /// The proxy resolves the host's name.
        case socks5h
    }

    public let kind: Kind
    /// Lower-case name or address; an IPv6 address without its brackets and its zone.
    public let host: String
    /// As in WebSocketURL.
    public let zone: String?
    public let port: Int
    /// Percent-decoded; nil without.
    public let user: String?
    /// Percent-decoded; nil without.
    public let password: String?

    public var description: String { "\(kind.rawValue)://\(bracketed(host, zone: zone)):\(port)" }

    /// Upper bound of the URL in bytes. No proxy takes so long a user or password.
    private static let maximumLength = 64 << 10

    /// - Parameter ofEnvironment: also accept `socks://`, which desktops set; it means socks5h.
    public init(_ text: String, ofEnvironment: Bool = false) throws(Failure) {
        func wrong(_ reason: String) -> Failure {
            Failure(reason: "bad proxy '\(quotedForError(redactingCredentials(text)))': \(reason)")
        }
        guard text.utf8.count <= Self.maximumLength else { throw wrong("it has more than \(Self.maximumLength) bytes") }
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else {
            throw wrong("it has a space or a control character; write them as %20 and the like")
        }
        let (scheme, beyond) = splitScheme(text)
        let name = scheme?.lowercased() ?? "http"
        guard let kind = ofEnvironment && name == "socks" ? .socks5h : Kind(rawValue: name) else {
            throw wrong("the scheme is '\(quotedForError(name))'; it must be http, socks5 or socks5h")
        }
        self.kind = kind
        var rest = beyond.utf8
        if rest.last == UInt8(ascii: "/") { rest.removeLast() }
        guard !rest.contains(where: { "/?#".utf8.contains($0) }) else {
            throw wrong("it has more than user, password, host and port; a / in a password is written %2F")
        }
        let authority: Authority
        do throws(Authority.Failure) {
            authority = try Authority(Substring(rest))
        } catch {
            throw wrong(error.reason)
        }
        host = authority.host
        zone = authority.zone
        port = authority.port ?? 1080
        user = authority.user
        password = authority.password
        guard let user else { return }
        switch kind {
        case .http:
            // RFC 7617 section 2: the first colon ends the user.
            guard !user.utf8.contains(UInt8(ascii: ":")) else {
                throw wrong("the user has a colon, which HTTP can't send")
            }
        case .socks5, .socks5h:
            // RFC 1929 section 2.
            guard (1...255).contains(user.utf8.count), (1...255).contains((password ?? "").utf8.count) else {
                throw wrong("for SOCKS5, user and password must have 1 to 255 bytes each")
            }
        }
    }
}
