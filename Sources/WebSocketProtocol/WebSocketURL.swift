// WebSocket URLs (RFC 6455 section 3, RFC 3986): split, checked, and put into the form that the request
// wants. `http` and `https` mean the same as `ws` and `wss`; `ws+unix` is in a file of its own.

import Glibc

public struct WebSocketURL: Equatable, Sendable {
    public struct Failure: Error, Equatable, Sendable {
        /// What is wrong, for people; names the URL.
        public let reason: String
    }

    /// TLS: `wss` or `https`.
    public let isSecure: Bool
    /// Lower-case name or address; an IPv6 address without its brackets.
    public let host: String
    public let port: Int
    /// `/path?query`, percent-encoded where the script did not: the request's target.
    public let target: String
    /// `user:password`, decoded; nil without.
    public internal(set) var userInfo: String?
    /// Where the server listens when that is a Unix socket: no TCP, and `host` is localhost.
    public let socketPath: String?

    private let isIPv6: Bool

    /// `host` or `host:port` as the Host field has it: without a default port (RFC 9110 section 7.2).
    public var authority: String {
        let name = isIPv6 ? "[\(host)]" : host
        return port == (isSecure ? 443 : 80) ? name : "\(name):\(port)"
    }

    /// The URL without user and password, for messages.
    public var description: String {
        let server = socketPath.map(Self.unixSocket) ?? "\(isSecure ? "wss" : "ws")://\(authority)"
        return server + target
    }

    public init(_ text: String) throws(Failure) {
        func wrong(_ reason: String) -> Failure { Failure(reason: "bad URL '\(Self.printable(text))': \(reason)") }
        // Also what would end the request line: CR and LF above all.
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else {
            throw wrong("it has a space or a control character; write them as %20 and the like")
        }
        if let unix = try Self.parseUnixSocket(text) {
            (socketPath, target) = unix
            (isSecure, host, port, userInfo, isIPv6) = (false, "localhost", 80, nil, false)
            return
        }
        socketPath = nil
        guard let schemeEnd = text.range(of: "://") else {
            throw wrong("it has no scheme; it must begin with ws:// or wss://")
        }
        switch text[..<schemeEnd.lowerBound].lowercased() {
        case "ws", "http": isSecure = false
        case "wss", "https": isSecure = true
        case let other: throw wrong("the scheme is '\(other)'; it must be ws, wss, http, https or ws+unix")
        }
        // RFC 3986 section 3: the authority ends at the first slash, question mark or hash. Looked for among the
        // bytes: as characters, one with a combining mark behind it would be another.
        let rest = text[schemeEnd.upperBound...]
        let authorityEnd = rest.utf8.firstIndex { "/?#".utf8.contains($0) } ?? rest.endIndex
        var authority = rest[..<authorityEnd]
        guard !authority.utf8.contains(UInt8(ascii: "\\")) else { throw wrong("it has a backslash in the host") }
        if let at = authority.utf8.lastIndex(of: UInt8(ascii: "@")) {
            guard let decoded = Self.decode(authority[..<at]) else { throw wrong("user:password has a bad %-escape") }
            userInfo = decoded
            authority = authority[authority.utf8.index(after: at)...]
        } else {
            userInfo = nil
        }
        let portText: Substring?
        if authority.first == "[" {
            guard let bracket = authority.firstIndex(of: "]") else {
                throw wrong("the IPv6 address has no closing bracket")
            }
            host = authority[authority.index(after: authority.startIndex)..<bracket].lowercased()
            isIPv6 = true
            var address = in6_addr()
            guard inet_pton(AF_INET6, host, &address) == 1 else { throw wrong("[\(host)] is not an IPv6 address") }
            let after = authority[authority.index(after: bracket)...]
            guard after.isEmpty || after.first == ":" else {
                throw wrong("after the IPv6 address only a port can follow")
            }
            portText = after.isEmpty ? nil : after.dropFirst()
        } else {
            let parts = authority.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count <= 2 else {
                throw wrong("an IPv6 address must stand in brackets, as in ws://[::1]:8080/")
            }
            let name = parts[0]  // there is always one, if only an empty one
            isIPv6 = false
            portText = parts.count == 2 ? parts[1] : nil
            guard !name.isEmpty else { throw wrong("it has no host") }
            // Before the case is changed: U+212A would become a k.
            guard name.utf8.allSatisfy({ $0 < 0x80 }) else {
                throw wrong("the host is not ASCII; write an international name in its xn-- form")
            }
            host = name.lowercased()
            // 3.2.2: unreserved and sub-delims; a percent-encoded host has no meaning in DNS.
            guard host.utf8.allSatisfy({ isTokenByte($0) && !"%^`|".utf8.contains($0) || "(),;=".utf8.contains($0) }),
                host.utf8.count <= 255
            else { throw wrong("'\(host)' is not a host name") }
        }
        switch portText {
        case nil, "": port = isSecure ? 443 : 80
        case let digits?:
            guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(digits),
                (1...65535).contains(number)
            else { throw wrong("'\(digits)' is not a port; it must be a number from 1 to 65535") }
            port = number
        }
        guard let target = Self.requestTarget(rest[authorityEnd...]) else {
            throw wrong("it has a % that is not followed by two hex digits")
        }
        self.target = target
    }

    /// The target that a URL's path, query and fragment make; nil when it has a bad escape.
    static func requestTarget(_ text: Substring) -> String? {
        // RFC 6455 section 3: a fragment has no meaning; the request is sent without it.
        let path = Substring(text.utf8.prefix { $0 != UInt8(ascii: "#") })
        return encode(path.utf8.first == UInt8(ascii: "/") ? String(path) : "/" + path)
    }

    /// Percent-encodes what a request's target can't hold as it is (RFC 3986 sections 2 and 3.3); nil when
    /// a percent sign begins no escape.
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
                encoded += escape(byte)
            }
        }
        return String(decoding: encoded, as: UTF8.self)
    }

    static func escape(_ byte: UInt8) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        return [0x25, digits[Int(byte >> 4)], digits[Int(byte & 0xF)]]
    }

    static func decode(_ text: Substring) -> String? {
        var decoded: [UInt8] = []
        var bytes = text.utf8
        while let byte = bytes.popFirst() {
            guard byte == 0x25 else {
                decoded.append(byte)
                continue
            }
            guard let high = bytes.popFirst().flatMap(hexDigit), let low = bytes.popFirst().flatMap(hexDigit) else {
                return nil
            }
            decoded.append(high << 4 | low)
        }
        return String(validating: decoded, as: UTF8.self)
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        Character(Unicode.Scalar(byte)).hexDigitValue.map(UInt8.init)
    }

    /// The URL for an error message: no password, no control characters, not endless.
    static func printable(_ text: String) -> String {
        var shown = text
        let scheme = text.range(of: "://")?.upperBound
        // Without a scheme there is no telling where the user would end: at the last sign that can end one.
        let authority = text[(scheme ?? text.startIndex)...].utf8.prefix { scheme == nil || !"/?#".utf8.contains($0) }
        if let at = authority.lastIndex(of: UInt8(ascii: "@")) {
            shown = text[..<authority.startIndex] + "…" + text[at...]
        }
        let clean = String(
            String.UnicodeScalarView(shown.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? "?" : $0 }))
        return clean.count > 200 ? clean.prefix(200) + "…" : clean
    }
}

extension String {
    /// The first place of an ASCII text.
    fileprivate func range(of text: String) -> Range<Index>? {
        let needle = Array(text.utf8)
        var i = utf8.startIndex
        while let end = utf8.index(i, offsetBy: needle.count, limitedBy: utf8.endIndex) {
            if utf8[i..<end].elementsEqual(needle) { return i..<end }
            i = utf8.index(after: i)
        }
        return nil
    }
}
