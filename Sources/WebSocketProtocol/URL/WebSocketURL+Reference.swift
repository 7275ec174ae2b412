// Redirects: resolves a Location field against the URL of the request (RFC 9110 section 10.2.2, RFC 3986 section
// 5.2). A server may name other servers, but no Unix socket of this machine and no user. Pure; called on the loop
// thread by ConnectAttempt.

extension WebSocketURL {
    /// Whether both have the same origin: headers and credentials for one may then be sent to the other.
    public func isSameOrigin(as other: WebSocketURL) -> Bool {
        isSecure == other.isSecure && host == other.host && port == other.port
            && zone == other.zone && socketPath.map { Array($0.utf8) } == other.socketPath.map { Array($0.utf8) }
    }

    /// The URL of a reference. Within the same origin it keeps user and password.
    public func resolving(_ reference: String) throws(Failure) -> WebSocketURL {
        var resolved = try WebSocketURL(try absolute(reference))
        // A zone has a meaning on this machine only: the server's would be another, and it does not know ours.
        resolved.zone = host == resolved.host ? zone : nil
        // A user in the reference is the server's choice: it is dropped.
        resolved.userInfo = resolved.userInfo == nil && isSameOrigin(as: resolved) ? userInfo : nil
        return resolved
    }

    /// Makes a reference absolute (RFC 3986 section 5.2.2).
    private func absolute(_ text: String) throws(Failure) -> String {
        func wrong(_ problem: String) -> Failure { Failure(problem, of: text) }
        // Checks the fragment, too, which is dropped later.
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else {
            throw wrong("it has a space or a control character")
        }
        let reference = URIReference(text[...])
        let query = reference.query.map { "?\($0)" } ?? ""
        if reference.scheme != nil || reference.authority != nil {
            let scheme = reference.scheme?.lowercased() ?? (socketPath != nil ? "ws+unix" : isSecure ? "wss" : "ws")
            guard ["ws", "wss", "http", "https"].contains(scheme) else {
                throw wrong("a server can lead to ws, wss, http and https only")
            }
            guard let authority = reference.authority else { throw wrong("it has no // behind the scheme") }
            return "\(scheme)://\(authority)\(removingDotSegments(reference.path))\(query)"
        }
        let origin = description.dropLast(target.count)
        // Not split by URIReference: a target that begins with two slashes would look like an authority.
        let path = target.prefix { $0 != "?" }
        guard !reference.path.isEmpty else { return origin + (reference.query == nil ? target : path + query) }
        guard reference.path.utf8.first != UInt8(ascii: "/") else {
            return "\(origin)\(removingDotSegments(reference.path))\(query)"
        }
        // 5.2.3: the reference replaces the path after the last slash.
        let folder = path.prefix(through: path.lastIndex(of: "/") ?? path.startIndex)
        return "\(origin)\(removingDotSegments(folder + reference.path))\(query)"
    }
}

/// RFC 3986 section 5.2.4, for a path that begins with a slash or is empty.
private func removingDotSegments(_ path: Substring) -> String {
    guard !path.isEmpty else { return "" }
    let segments = path.utf8.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    var kept: [Substring] = []
    for segment in segments.map(Substring.init) {
        if segment == ".." { _ = kept.popLast() }
        if segment != "." && segment != ".." { kept.append(segment) }
    }
    // A path that ends with a dot segment ends with a slash.
    if let last = segments.last.map(Substring.init), last == "." || last == ".." { kept.append("") }
    return "/" + kept.joined(separator: "/")
}
