// Header fields in order (RFC 9110 section 5), and the grammar that they share: tokens, lists, and the
// extension lists of RFC 6455 section 9.1.

public struct HeaderFields: Equatable, Sendable {
    public private(set) var fields: [(name: String, value: String)] = []

    public init() {}

    public mutating func append(_ name: String, _ value: String) { fields.append((name, value)) }

    /// A line that continues the value of the last field, of which there is one: after a space in place of the line's
    /// end (obs-fold, RFC 9112 section 5.2).
    mutating func fold(_ line: Substring) {
        let last = fields.count - 1
        if !fields[last].value.isEmpty && !line.isEmpty { fields[last].value += " " }
        fields[last].value += line
    }

    /// All values of a field, joined; nil when it is absent.
    public subscript(_ name: String) -> String? {
        let values = values(name)
        return values.isEmpty ? nil : Self.join(values, of: name)
    }

    /// Each name once, in lower case, with its values joined; in no order.
    public var joined: [(name: String, value: String)] {
        Dictionary(grouping: fields) { $0.name.lowercased() }
            .map { name, fields in (name, Self.join(fields.map(\.value), of: name)) }
    }

    /// As RFC 9110 section 5.3 allows. The values of Set-Cookie stay on lines of their own: in a cookie a comma means
    /// something else (RFC 6265 section 3).
    private static func join(_ values: [String], of name: String) -> String {
        values.joined(separator: isEqual(name, "set-cookie", ignoringCase: true) ? "\n" : ", ")
    }

    /// The values of a field, one for each line. Names are equal in any case.
    public func values(_ name: String) -> [String] {
        fields.filter { $0.name.utf8.count == name.utf8.count && $0.name.lowercased() == name.lowercased() }
            .map(\.value)
    }

    /// The fields that may go to another origin than the one that they were meant for.
    public func withoutCredentials() -> HeaderFields {
        var others = self
        others.fields.removeAll {
            ["authorization", "proxy-authorization", "cookie", "host"].contains($0.name.lowercased())
        }
        return others
    }

    /// The elements of a comma-separated field, in all its lines. Empty ones are none (RFC 9110 section 5.6.1.2).
    func list(_ name: String) -> [String] {
        values(name).flatMap { $0.split(separator: ",").map { String(trim($0)) }.filter { !$0.isEmpty } }
    }

    /// Whether a comma-separated field has an element, in any case (`MessageReader: keep-alive, Upgrade`).
    func list(_ name: String, contains element: String) -> Bool {
        list(name).contains { $0.lowercased() == element }
    }

    public static func == (a: HeaderFields, b: HeaderFields) -> Bool {
        a.fields.elementsEqual(b.fields) { $0.name == $1.name && $0.value == $1.value }
    }
}

/// Byte by byte. Swift's own == holds for canonical equivalents too, as U+212A and K, and so does a change of case.
func isEqual(_ a: String, _ b: String, ignoringCase: Bool = false) -> Bool {
    guard ignoringCase else { return a.utf8.elementsEqual(b.utf8) }
    return a.utf8.count == b.utf8.count && a.lowercased() == b.lowercased()
}

/// RFC 9110 section 5.6.3: optional white space is spaces and tabs.
func trim(_ text: Substring) -> Substring {
    var bytes = text.utf8
    while let first = bytes.first, first == 0x20 || first == 0x09 { bytes = bytes.dropFirst() }
    while let last = bytes.last, last == 0x20 || last == 0x09 { bytes = bytes.dropLast() }
    return Substring(bytes)
}

/// RFC 9110 section 5.6.2.
func isTokenByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"):
        true
    default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }
}

/// Whether the text can be the name of a header field, a subprotocol or an extension.
public func isToken(_ text: some StringProtocol) -> Bool { !text.isEmpty && text.utf8.allSatisfy(isTokenByte) }

/// Whether the text can be a field's value: no control character but the tab (RFC 9110 section 5.5).
public func isFieldValue(_ text: String) -> Bool {
    text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }
}

/// `name; parameter; parameter=value, name…` (RFC 6455 section 9.1); nil when it is not that.
func parseExtensions(_ text: String) -> [(name: String, parameters: [ExtensionParameter])]? {
    var rest = Substring(text).utf8
    func skipSpace() {
        while let first = rest.first, first == 0x20 || first == 0x09 { rest = rest.dropFirst() }
    }
    func take(_ byte: Character) -> Bool {
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
    /// 9.1: a quoted value must be a token once the quotes and escapes are off.
    func value() -> String? {
        guard take("\"") else { return token() }
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
        return take("\"") && isToken(unquoted) ? unquoted : nil
    }
    var extensions: [(name: String, parameters: [ExtensionParameter])] = []
    repeat {
        // RFC 9110 section 5.6.1.2: an empty element is none.
        guard let name = token() else { continue }
        var parameters: [ExtensionParameter] = []
        while take(";") {
            guard let name = token() else { return nil }
            var parameter = ExtensionParameter(name: name, value: nil)
            if take("=") {
                guard let value = value() else { return nil }
                parameter.value = value
            }
            parameters.append(parameter)
        }
        extensions.append((name, parameters))
    } while take(",")
    skipSpace()
    return rest.isEmpty ? extensions : nil
}
