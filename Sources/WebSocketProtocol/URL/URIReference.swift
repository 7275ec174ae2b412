// A URI reference split into its parts (RFC 3986 section 4.1 and appendix B), without checks or decoding. Splits by
// bytes: as characters, a delimiter with a combining mark would be no delimiter. Pure; used for redirects and
// redaction.

struct URIReference {
    /// Without its colon.
    private(set) var scheme: Substring?
    /// Without its slashes.
    private(set) var authority: Substring?
    let path: Substring
    /// Without its question mark.
    private(set) var query: Substring?

    init(_ text: Substring) {
        var rest = text.utf8.prefix { $0 != UInt8(ascii: "#") }
        if let end = rest.firstIndex(where: { ":/?".utf8.contains($0) }), rest[end] == UInt8(ascii: ":") {
            scheme = Substring(rest[..<end])
            rest = rest[end...].dropFirst()
        }
        if rest.starts(with: "//".utf8) {
            rest = rest.dropFirst(2)
            let end = rest.firstIndex { "/?".utf8.contains($0) } ?? rest.endIndex
            authority = Substring(rest[..<end])
            rest = rest[end...]
        }
        let path = rest.prefix { $0 != UInt8(ascii: "?") }
        self.path = Substring(path)
        if path.endIndex < rest.endIndex { query = Substring(rest[path.endIndex...].dropFirst()) }
    }
}
