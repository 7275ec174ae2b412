// WebSocket URLs (RFC 6455 section 3, RFC 3986): split, checked, and encoded for the request. `http` and `https` mean
// the same as `ws` and `wss`; `+UnixSocket` has `ws+unix`, `+Reference` has redirects. Pure; created on Lua's thread,
// read on the loop thread.

public struct WebSocketURL: Equatable, Sendable {
    public struct Failure: Error, Equatable, Sendable {
        /// Text for people that names the URL, without user and password.
        public let reason: String
        /// The same without the URL, which may hold a secret.
        public let problem: String

        init(_ problem: String, of text: String) {
            reason = "bad URL '\(quotedForError(redactingCredentials(text)))': \(problem)"
            self.problem = problem
        }
    }

    /// Upper bound of a URL in bytes.
    private static let maximumLength = 64 << 10

    /// Whether the connection uses TLS: `wss` or `https`.
    public let isSecure: Bool
    /// Lower-case name or address; an IPv6 address without its brackets and its zone.
    public let host: String
    /// The zone of an IPv6 address (RFC 6874): the name or the number of a network interface. Only this machine knows it, so
    /// neither the Host field nor the check of a certificate has it.
    public internal(set) var zone: String?
    public let port: Int
    /// The request's target, `/path?query`, percent-encoded where needed.
    public let target: String
    /// `user:password`, percent-decoded, always with the colon; nil without.
    public internal(set) var userInfo: String?
    /// Path of the server's Unix socket; nil for TCP. `host` is localhost then.
    public let socketPath: String?

    /// `host` or `host:port` for the Host field: without the default port (RFC 9110 section 7.2).
    public var authority: String { bracketed(host) + portSuffix }

    private var portSuffix: String { port == (isSecure ? 443 : 80) ? "" : ":\(port)" }

    /// The URL without user and password, for texts.
    public var description: String {
        let server =
            socketPath.map(Self.unixSocket)
            ?? "\(isSecure ? "wss" : "ws")://\(bracketed(host, zone: zone))\(portSuffix)"
        return server + target
    }

    public init(_ text: String) throws(Failure) {
        func wrong(_ problem: String) -> Failure { Failure(problem, of: text) }
        guard text.utf8.count <= Self.maximumLength else { throw wrong("it has more than \(Self.maximumLength) bytes") }
        // CR and LF would end the request line.
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else {
            throw wrong("it has a space or a control character; write them as %20 and the like")
        }
        if let unix = try Self.parseUnixSocket(text) {
            (socketPath, target) = unix
            (isSecure, host, port, userInfo) = (false, "localhost", 80, nil)
            return
        }
        socketPath = nil
        let (scheme, rest) = splitScheme(text)
        guard let scheme else { throw wrong("it has no scheme; it must begin with ws:// or wss://") }
        switch scheme.lowercased() {
        case "ws", "http": isSecure = false
        case "wss", "https": isSecure = true
        case let other:
            throw wrong("the scheme is '\(quotedForError(other))'; it must be ws, wss, http, https or ws+unix")
        }
        // RFC 3986 section 3: the authority ends at the first slash, question mark or hash. Searched by bytes: as
        // characters, a delimiter with a combining mark would be no delimiter.
        let authorityEnd = rest.utf8.firstIndex { "/?#".utf8.contains($0) } ?? rest.endIndex
        let authority: Authority
        do throws(Authority.Failure) {
            authority = try Authority(rest[..<authorityEnd], example: "ws://[::1]:8080/")
        } catch {
            // The error text could show a piece of a password.
            guard !rest[authorityEnd...].utf8.contains(UInt8(ascii: "@")) else {
                throw wrong(
                    "user, password, host or port is wrong; a /, ? or # in a password is written %2F, %3F or %23")
            }
            throw wrong(error.reason)
        }
        // RFC 7617 section 2: the colon is always there.
        userInfo = authority.user.map { "\($0):\(authority.password ?? "")" }
        host = authority.host
        zone = authority.zone
        port = authority.port ?? (isSecure ? 443 : 80)
        guard let target = Self.requestTarget(rest[authorityEnd...]) else {
            throw wrong("it has a % that is not followed by two hex digits")
        }
        self.target = target
    }

    /// The request's target for a path, query and fragment; nil when an escape is malformed.
    static func requestTarget(_ text: Substring) -> String? {
        // RFC 6455 section 3: fragments mean nothing; the request has none.
        let path = Substring(text.utf8.prefix { $0 != UInt8(ascii: "#") })
        return encode(path.utf8.first == UInt8(ascii: "/") ? String(path) : "/" + path)
    }

    /// Percent-encodes the bytes that must not stand in a target (RFC 3986 sections 2 and 3.3); nil when an escape is
    /// malformed.
    private static func encode(_ path: String) -> String? {
        var encoded: [UInt8] = []
        let bytes = Array(path.utf8)
        for (index, byte) in bytes.enumerated() {
            if byte == 0x25 {
                guard index + 2 < bytes.count, hexDigit(bytes[index + 1]) != nil, hexDigit(bytes[index + 2]) != nil
                else {
                    return nil
                }
            }
            if byte < 0x80, !"\"<>\\^`{|}".utf8.contains(byte) {
                encoded.append(byte)
            } else {
                encoded += percentEncoded(byte)
            }
        }
        return String(decoding: encoded, as: UTF8.self)
    }
}
