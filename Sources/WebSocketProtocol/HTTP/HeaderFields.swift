// Header fields in their order (RFC 9110 section 5), and the grammar of their values: tokens, lists, and the
// extension lists of RFC 6455 section 9.1. Pure; used on both threads.

public struct HeaderFields: Equatable, Sendable {
    public private(set) var fields: [(name: String, value: String)] = []

    public init() {}

    public mutating func append(_ name: String, _ value: String) { fields.append((name, value)) }

    /// Appends a line to the last field's value, after one space (obs-fold, RFC 9112 section 5.2). There must be a
    /// field.
    mutating func fold(_ line: Substring) {
        let last = fields.count - 1
        if !fields[last].value.isEmpty && !line.isEmpty { fields[last].value += " " }
        fields[last].value += line
    }

    /// All values of a field, joined; nil without the field.
    public subscript(_ name: String) -> String? {
        let values = values(name)
        return values.isEmpty ? nil : Self.join(values, of: name)
    }

    /// Each name once, in lower case, with its values joined; in no order.
    public var joined: [(name: String, value: String)] {
        Dictionary(grouping: fields) { $0.name.lowercased() }
            .map { name, fields in (name, Self.join(fields.map(\.value), of: name)) }
    }

    /// Joins with commas, as RFC 9110 section 5.3 allows. Values of Set-Cookie are joined with line feeds, because a
    /// cookie may contain commas (RFC 6265 section 3).
    private static func join(_ values: [String], of name: String) -> String {
        values.joined(separator: isEqual(name, "set-cookie", ignoringCase: true) ? "\n" : ", ")
    }

    /// The values of a field, one for each of its lines. Letter case of the name does not matter.
    public func values(_ name: String) -> [String] {
        fields.filter { $0.name.utf8.count == name.utf8.count && $0.name.lowercased() == name.lowercased() }
            .map(\.value)
    }

    /// The fields that may be sent to another origin after a redirect.
    public func withoutCredentials() -> HeaderFields {
        var others = self
        others.fields.removeAll {
            ["authorization", "proxy-authorization", "cookie", "host"].contains($0.name.lowercased())
        }
        return others
    }

    /// The elements of a comma-separated field, of all its lines, without empty ones (RFC 9110 section 5.6.1.2).
    func list(_ name: String) -> [String] {
        values(name).flatMap { $0.split(separator: ",").map { String(trim($0)) }.filter { !$0.isEmpty } }
    }

    /// Whether a comma-separated field has an element; letter case does not matter (`Connection: keep-alive, Upgrade`).
    /// - Parameter element: in lower case.
    func list(_ name: String, contains element: String) -> Bool {
        list(name).contains { isEqual($0, element, ignoringCase: true) }
    }

    public static func == (a: HeaderFields, b: HeaderFields) -> Bool {
        a.fields.elementsEqual(b.fields) { $0.name == $1.name && $0.value == $1.value }
    }
}

/// Compares bytes. Swift's == also accepts canonical equivalents, such as U+212A for K, and so does lowercased().
func isEqual(_ a: String, _ b: String, ignoringCase: Bool = false) -> Bool {
    guard ignoringCase else { return a.utf8.elementsEqual(b.utf8) }
    return a.utf8.count == b.utf8.count && a.lowercased() == b.lowercased()
}

/// Removes spaces and tabs at both ends: optional white space of RFC 9110 section 5.6.3.
func trim(_ text: Substring) -> Substring {
    var bytes = text.utf8
    while let first = bytes.first, first == 0x20 || first == 0x09 { bytes = bytes.dropFirst() }
    while let last = bytes.last, last == 0x20 || last == 0x09 { bytes = bytes.dropLast() }
    return Substring(bytes)
}

/// Whether a byte may stand in a token (RFC 9110 section 5.6.2).
func isTokenByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"):
        true
    default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }
}

func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

/// Whether the text may be the name of a header field, a subprotocol or an extension.
public func isToken(_ text: some StringProtocol) -> Bool { !text.isEmpty && text.utf8.allSatisfy(isTokenByte) }

/// Whether the text may be a field's value: no control characters except tabs (RFC 9110 section 5.5).
public func isFieldValue(_ text: String) -> Bool {
    text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }
}

/// Parses `name; parameter; parameter=value, name…` (RFC 6455 section 9.1); nil when malformed.
func parseExtensions(_ text: String) -> [(name: String, parameters: [ExtensionParameter])]? {
    var rest = Substring(text).utf8
    func skipSpace() {
        while let first = rest.first, first == 0x20 || first == 0x09 { rest = rest.dropFirst() }
    }
    func skip(_ byte: Character) -> Bool {
        skipSpace()
        guard let first = rest.first, first == byte.asciiValue else { return false }
        rest = rest.dropFirst()
        return true
    }
    func token() -> String? {
        skipSpace()
        let token = rest.prefix(while: isTokenByte)
        rest = rest.dropFirst(token.count)
        return token.isEmpty ? nil : String(Substring(token))
    }
    /// 9.1: a quoted value without its quotes and escapes must be a token.
    func value() -> String? {
        guard skip("\"") else { return token() }
        var unquoted = ""
        while let byte = rest.first, byte != UInt8(ascii: "\"") {
            rest = rest.dropFirst()
            guard byte == UInt8(ascii: "\\") else {
                unquoted.unicodeScalars.append(Unicode.Scalar(byte))
                continue
            }
            guard let escaped = rest.first else { return nil }
            rest = rest.dropFirst()
            unquoted.unicodeScalars.append(Unicode.Scalar(escaped))
        }
        return skip("\"") && isToken(unquoted) ? unquoted : nil
    }
    var extensions: [(name: String, parameters: [ExtensionParameter])] = []
    repeat {
        // RFC 9110 section 5.6.1.2: empty elements are ignored.
        guard let name = token() else { continue }
        var parameters: [ExtensionParameter] = []
        while skip(";") {
            guard let name = token() else { return nil }
            var parameter = ExtensionParameter(name: name, value: nil)
            if skip("=") {
                guard let value = value() else { return nil }
                parameter.value = value
            }
            parameters.append(parameter)
        }
        extensions.append((name, parameters))
    } while skip(",")
    skipSpace()
    return rest.isEmpty ? extensions : nil
}
