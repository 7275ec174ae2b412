// The authority of a URL (RFC 3986 section 3.2): user, password, host and port, split, checked and decoded. Shared by
// WebSocketURL and Proxy. Pure; called on any thread.

struct Authority: Equatable {
    struct Failure: Error, Equatable {
        /// Text for people, without user and password.
        let reason: String

        init(_ reason: String) { self.reason = reason }
    }

    /// Percent-decoded; nil without.
    let user: String?
    /// Percent-decoded; nil without.
    let password: String?
    /// Lower-case name or address; an IPv6 address without its brackets and its zone.
    let host: String
    /// The zone of an IPv6 address, percent-decoded: the name or the number of a network interface; nil without.
    let zone: String?
    let port: Int?

    /// - Parameter example: an IPv6 address as it must be written, for an error text.
    init(_ text: Substring, example: String = "[::1]:8080") throws(Failure) {
        guard !text.utf8.contains(UInt8(ascii: "\\")) else { throw Failure("it has a backslash in the host") }
        var text = text
        if let at = text.utf8.lastIndex(of: UInt8(ascii: "@")) {
            // 3.2.1: split before decoding; the first colon ends the user.
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
            let parts = text[..<bracket].utf8.dropFirst().split(
                separator: UInt8(ascii: "%"), maxSplits: 1, omittingEmptySubsequences: false)
            host = Substring(parts[0]).lowercased()
            guard IPAddress(host)?.isIPv6 == true else {
                throw Failure("[\(quotedForError(host))] is not an IPv6 address")
            }
            zone = parts.count == 2 ? try Self.zone(Substring(parts[1])) : nil
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
            let name = parts[0]  // always there, though perhaps empty
            portText = parts.count == 2 ? parts[1] : nil
            guard !name.isEmpty else { throw Failure("it has no host") }
            // Checked before lowercased(), which turns U+212A into k.
            guard name.utf8.allSatisfy({ $0 < 0x80 }) else {
                throw Failure("the host is not ASCII; write an international name in its xn-- form")
            }
            host = name.lowercased()
            zone = nil
            // 3.2.2: unreserved and sub-delims. Percent-encoding is refused: it means nothing in DNS.
            guard host.utf8.allSatisfy({ isTokenByte($0) && !"%^`|".utf8.contains($0) || "(),;=".utf8.contains($0) }),
                isHostName(host)
            else { throw Failure("'\(quotedForError(host))' is not a host name") }
        }
        port = try portText.flatMap { digits throws(Failure) in digits.isEmpty ? nil : try Self.port(digits) }
    }

    private static func port(_ digits: Substring) throws(Failure) -> Int {
        guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(digits),
            (1...65535).contains(number)
        else { throw Failure("'\(quotedForError(digits))' is not a port; it must be a number from 1 to 65535") }
        return number
    }

    /// - Parameter text: behind the first %. RFC 6874 section 2 writes it as %25; like curl, a bare % is accepted, too.
    private static func zone(_ text: Substring) throws(Failure) -> String {
        let escaped = text.utf8.starts(with: "25".utf8) && text.utf8.count > 2 ? text.dropFirst(2) : text
        guard let zone = percentDecoded(escaped), !zone.isEmpty, zone.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw Failure("the IPv6 address has a bad zone; write it as in [fe80::1%25eth0]")
        }
        return zone
    }
}

/// Splits a URL at its `://`; `scheme` is nil without. Splits by bytes: as characters, a delimiter with a combining
/// mark would be no delimiter.
func splitScheme(_ text: String) -> (scheme: Substring?, rest: Substring) {
    let scheme = text.utf8.prefix(while: isTokenByte)
    let rest = text.utf8[scheme.endIndex...]
    guard rest.starts(with: "://".utf8) else { return (nil, text[...]) }
    return (Substring(scheme), Substring(rest.dropFirst(3)))
}

/// A URL for an error message, without user and password. They are cut up to the last @, because a password may
/// contain an @ that is not escaped.
func redactingCredentials(_ text: String) -> String {
    let rest = splitScheme(text).rest
    guard let at = rest.utf8.lastIndex(of: UInt8(ascii: "@")) else { return text }
    return text[..<rest.startIndex] + "…" + text[at...]
}

/// Whether a name has no empty label, except after a dot at its end (RFC 1034 section 3.1). The labels' characters
/// are not checked.
public func isHostName(_ text: String) -> Bool {
    guard text.utf8.count <= 255 else { return false }
    let labels = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    let named = labels.count > 1 && labels.last?.isEmpty == true ? labels.dropLast() : labels[...]
    return named.allSatisfy { !$0.isEmpty }
}

/// The name without a dot at its end, which does not change its meaning (RFC 1034 section 3.1).
public func withoutTrailingDot(_ host: String) -> String { host.hasSuffix(".") ? String(host.dropLast()) : host }

/// Whether a name in lower case means this machine, whatever /etc/hosts says (RFC 6761 section 6.3).
public func isLocalhost(_ host: String) -> Bool {
    let name = withoutTrailingDot(host)
    return name == "localhost" || name.hasSuffix(".localhost")
}

/// A host as it stands in a URL: an IPv6 address in brackets (RFC 3986 section 3.2.2).
func bracketed(_ host: String, zone: String? = nil) -> String {
    guard let zone else { return host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]" : host }
    // RFC 6874 section 2: only unreserved characters stand for themselves.
    let escaped = zone.utf8.flatMap { isTokenByte($0) && !"!#$%&'*+^`|".utf8.contains($0) ? [$0] : percentEncoded($0) }
    return "[\(host)%25\(String(decoding: escaped, as: UTF8.self))]"
}

/// The %-escape of a byte.
func percentEncoded(_ byte: UInt8) -> [UInt8] {
    let digits = Array("0123456789ABCDEF".utf8)
    return [0x25, digits[Int(byte >> 4)], digits[Int(byte & 0xF)]]
}

/// Decodes %-escapes (RFC 3986 section 2.1); nil when one is malformed, or when the result is not UTF-8.
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
