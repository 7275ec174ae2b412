// Requests, responses and URLs for debug output that other people may read: … stands for everything that is not known
// to be harmless. Pure; called on the loop thread.

extension HTTPHead {
    /// The start line and the fields, redacted.
    public var redactedLines: [String] {
        [redactedStartLine(startLine)] + fields.fields.map { redactedField($0.name, $0.value) }
    }
}

extension WebSocketURL {
    /// The URL without its query.
    public var redactedDescription: String {
        let path = target.prefix { $0 != "?" }
        return description.dropLast(target.count) + path + (path.endIndex == target.endIndex ? "" : "?…")
    }
}

/// The lines of a request up to the empty one, redacted.
public func redactedLines(ofRequest request: String) -> [String] {
    // Split by bytes, not by characters: CR LF is one character, and a colon with a combining mark is not a colon.
    let lines = request.utf8.split(separator: 0x0A, omittingEmptySubsequences: false)
        .map { $0.last == 0x0D ? $0.dropLast() : $0 }
    return lines.prefix { !$0.isEmpty }.enumerated().map { index, line in
        guard index > 0 else { return redactedStartLine(String(Substring(line))) }
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return "…" }
        let value = trim(Substring(line[colon...].dropFirst()))
        return redactedField(String(Substring(line[..<colon])), String(value))
    }
}

/// A status line unchanged; a request line without the query of its target.
private func redactedStartLine(_ line: String) -> String {
    if line.utf8.starts(with: "HTTP/".utf8) { return line }
    let parts = line.split(separator: " ", omittingEmptySubsequences: false)
    guard parts.count == 3, isToken(parts[0]) else { return "…" }
    // RFC 9112 section 3.2.3: the target of CONNECT is host:port, not a reference.
    return "\(parts[0]) \(parts[0] == "CONNECT" ? String(parts[1]) : redactedReference(parts[1])) \(parts[2])"
}

/// Fields without secrets.
private let harmlessFields: Set = [
    "accept", "accept-encoding", "accept-language", "accept-ranges", "access-control-allow-credentials",
    "access-control-allow-headers", "access-control-allow-methods", "access-control-allow-origin", "age", "allow",
    "alt-svc", "cache-control", "cf-cache-status", "cf-ray", "connection", "content-encoding", "content-language",
    "content-length", "content-type", "date", "expires", "host", "keep-alive", "last-modified", "origin", "pragma",
    "proxy-agent", "proxy-connection", "retry-after", "sec-websocket-accept", "sec-websocket-extensions",
    "sec-websocket-version", "server", "strict-transport-security", "te", "trailer", "transfer-encoding", "upgrade",
    "user-agent", "vary", "via", "x-cache", "x-content-type-options", "x-frame-options", "x-powered-by", "x-request-id",
]

private func redactedField(_ name: String, _ value: String) -> String {
    guard isToken(name) else { return "…" }
    switch name.lowercased() {
    case let known where harmlessFields.contains(known): return "\(name): \(value)"
    case "location": return "\(name): \(redactedReference(value[...]))"
    case "sec-websocket-protocol":
        let names = value.split(separator: ",").map(trim)
        return "\(name): \(names.map { readsLikeProtocol($0) ? String($0) : "…" }.joined(separator: ", "))"
    case "www-authenticate", "proxy-authenticate":
        // RFC 9110 section 11.3: the authentication scheme comes first.
        let scheme = value.prefix { $0 != " " }
        return "\(name): \(isToken(scheme) ? "\(scheme) " : "")…"
    default: return "\(name): …"
    }
}

/// Whether a subprotocol is made of words and version numbers, such as graphql-transport-ws, mqtt, wamp.2.json or ocpp1.6.
/// Others may be tokens: browsers can set no other field, so servers take them as subprotocols.
private func readsLikeProtocol(_ name: Substring) -> Bool {
    guard name.utf8.count <= 40 else { return false }
    return name.utf8.split(omittingEmptySubsequences: false) { ".-_/+:".utf8.contains($0) }.allSatisfy { part in
        let letters = part.prefix { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) }
        let digits = part.dropFirst(letters.count)
        return !part.isEmpty && letters.count <= 16 && digits.count <= 2
            && digits.allSatisfy { (0x30...0x39).contains($0) }
    }
}

/// A reference without user, password, query and fragment.
private func redactedReference(_ text: Substring) -> String {
    let reference = URIReference(text)
    var shown = ""
    if let scheme = reference.scheme {
        // Without an authority a user and password could be anywhere in it.
        guard reference.authority != nil else { return "…" }
        shown += "\(scheme):"
    }
    if let authority = reference.authority {
        let at = authority.utf8.lastIndex(of: UInt8(ascii: "@"))
        shown += "//" + (at.map { "…" + authority[$0...] } ?? authority)
    }
    return shown + reference.path + (reference.query == nil ? "" : "?…")
}
