// The target of a request (RFC 9112 section 3.2): `/path?query`, a whole URL, or `*`. Pure; used on the loop thread by
// HTTPRequestLine.

struct RequestTarget: Equatable, Sendable {
    /// As the client wrote it.
    let text: String
    /// Not decoded; `*` for the server itself.
    let path: String
    /// Not decoded, without the question mark; nil without.
    let query: String?
    /// Host and port of a URL; nil for the other forms.
    let authority: Authority?

    init(_ bytes: Slice<UnsafeRawBufferPointer>, method: String) throws(RequestRefusal) {
        // RFC 3986 section 2: a URL is ASCII. Section 3.2: no form of a target has a fragment.
        guard bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "#") }) else {
            throw .badRequest("the target of the request has a byte that must be written as a %-escape")
        }
        text = String(decoding: bytes, as: UTF8.self)
        // 3.2.3: the target of CONNECT is a host and a port.
        guard method != "CONNECT" else { throw .badRequest("CONNECT is for proxies, and this is none") }
        switch bytes.first {
        case UInt8(ascii: "/"):
            // 3.2.1. Not by URIReference, for which two slashes would begin a host.
            let parts = text.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
            path = String(parts[0])
            query = parts.count == 2 ? String(parts[1]) : nil
            authority = nil
        case UInt8(ascii: "*") where text == "*" && method == "OPTIONS":
            // 3.2.4.
            (path, query, authority) = ("*", nil, nil)
        default:
            // 3.2.2: a server must accept a whole URL.
            let reference = URIReference(text[...])
            guard let scheme = reference.scheme, ["http", "https", "ws", "wss"].contains(scheme.lowercased()),
                let host = reference.authority, let authority = try? Authority(host), authority.user == nil
            else { throw .badRequest("the target of the request is neither a path nor a URL with a host") }
            self.authority = authority
            path = reference.path.isEmpty ? "/" : String(reference.path)
            query = reference.query.map(String.init)
        }
    }
}
