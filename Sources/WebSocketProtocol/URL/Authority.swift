// The authority of a URL (RFC 3986 section 3.2): user, host and port, split, checked and decoded. The URLs of
// websockets and of proxies have it in common.

struct Authority: Equatable {
    struct Failure: Error, Equatable {
        /// What is wrong, for people; shows neither user nor password.
        let reason: String

        init(_ reason: String) { self.reason = reason }
    }

    /// Decoded; nil without.
    let user: String?
    /// Decoded; nil without.
    let password: String?
    /// Lower-case name or address; an IPv6 address without its brackets.
    let host: String
    let port: Int?

    /// - Parameter example: shows in an error's words how an IPv6 address is written.
    init(_ text: Substring, example: String = "[::1]:8080") throws(Failure) {
        guard !text.utf8.contains(UInt8(ascii: "\\")) else { throw Failure("it has a backslash in the host") }
        var text = text
        if let at = text.utf8.lastIndex(of: UInt8(ascii: "@")) {
            // 3.2.1: split before it is decoded; the first colon ends the user.
            let parts = text[..<at].utf8.split(
                separator: UInt8(ascii: ":"), maxSplits: 1, omittingEmptySubsequences: false)
            let decoded = parts.map { percentDecoded(Substring($0)) }
            guard !decoded.contains(nil) else { throw Failure("user:password has a bad %-escape") }
            user = decoded[0]
            password = decoded.count == 2 ? decoded[1] : nil
            text = text[text.utf8.index(after: at)...]
        } else {
            user = nil
            password = nil
        }
        let portText: Substring?
        if text.first == "[" {
            guard let bracket = text.firstIndex(of: "]") else {
                throw Failure("the IPv6 address has no closing bracket")
            }
            host = text[text.index(after: text.startIndex)..<bracket].lowercased()
            guard IPAddress(host)?.isIPv6 == true else {
                throw Failure("[\(quotedForError(host))] is not an IPv6 address")
            }
            let after = text[text.index(after: bracket)...]
            guard after.isEmpty || after.first == ":" else {
                throw Failure("after the IPv6 address only a port can follow")
            }
            portText = after.isEmpty ? nil : after.dropFirst()
        } else {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count <= 2 else {
                throw Failure("an IPv6 address must stand in brackets, as in \(example)")
            }
            let name = parts[0]  // there is always one, if only an empty one
            portText = parts.count == 2 ? parts[1] : nil
            guard !name.isEmpty else { throw Failure("it has no host") }
            // Before the case is changed: U+212A would become a k.
            guard name.utf8.allSatisfy({ $0 < 0x80 }) else {
                throw Failure("the host is not ASCII; write an international name in its xn-- form")
            }
            host = name.lowercased()
            // 3.2.2: unreserved and sub-delims; a percent-encoded host has no meaning in DNS.
            guard host.utf8.allSatisfy({ isTokenByte($0) && !"%^`|".utf8.contains($0) || "(),;=".utf8.contains($0) }),
                isHostName(host)
            else { throw Failure("'\(quotedForError(host))' is not a host name") }
        }
        switch portText {
        case nil, "": port = nil
        case let digits?:
            guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(digits),
                (1...65535).contains(number)
            else { throw Failure("'\(quotedForError(digits))' is not a port; it must be a number from 1 to 65535") }
            port = number
        }
    }
}

/// A URL cut behind its `://`; `scheme` is nil without one. Among the bytes: as a character, a delimiter with a combining
/// mark behind it would be another.
func splitScheme(_ text: String) -> (scheme: Substring?, rest: Substring) {
    let scheme = text.utf8.prefix(while: isTokenByte)
    let rest = text.utf8[scheme.endIndex...]
    guard rest.starts(with: "://".utf8) else { return (nil, text[...]) }
    return (Substring(scheme), Substring(rest.dropFirst(3)))
}

/// A URL for an error message, without user and password: they end at the last sign that can end them, since a
/// password may have any other unescaped.
func redactingCredentials(_ text: String) -> String {
    let rest = splitScheme(text).rest
    guard let at = rest.utf8.lastIndex(of: UInt8(ascii: "@")) else { return text }
    return text[..<rest.startIndex] + "…" + text[at...]
}

/// Whether a name's labels are there, at most with a dot behind the last (RFC 1034 section 3.1); not what they hold.
public func isHostName(_ text: String) -> Bool {
    guard text.utf8.count <= 255 else { return false }
    let labels = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    let named = labels.count > 1 && labels.last?.isEmpty == true ? labels.dropLast() : labels[...]
    return named.allSatisfy { !$0.isEmpty }
}

/// The name without the dot at its end, which means the same (RFC 1034 section 3.1).
func withoutTrailingDot(_ host: String) -> String { host.hasSuffix(".") ? String(host.dropLast()) : host }

/// Whether a name in lower case is this machine's, whatever the system's files say or leave out (RFC 6761 section 6.3).
public func isLocalhost(_ host: String) -> Bool {
    let name = withoutTrailingDot(host)
    return name == "localhost" || name.hasSuffix(".localhost")
}

/// A host as URLs have it (RFC 3986 section 3.2.2): an IPv6 address in brackets.
func bracketed(_ host: String) -> String { host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]" : host }

/// RFC 3986 section 2.1; nil when a percent sign begins no escape, or what comes out is not UTF-8.
func percentDecoded(_ text: Substring) -> String? {
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

func hexDigit(_ byte: UInt8) -> UInt8? {
    Character(Unicode.Scalar(byte)).hexDigitValue.map(UInt8.init)
}
