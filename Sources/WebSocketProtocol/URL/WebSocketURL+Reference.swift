// What a redirect's Location means, seen from the URL that was asked for (RFC 9110 section 10.2.2, RFC 3986
// section 5.2). A server names other servers, never a file of this machine or a user.

extension WebSocketURL {
    /// Whether both lead to the same server the same way: what was meant for one may go to the other.
    public func isSameOrigin(as other: WebSocketURL) -> Bool {
        isSecure == other.isSecure && host == other.host && port == other.port
            && socketPath.map { Array($0.utf8) } == other.socketPath.map { Array($0.utf8) }
    }

    /// The URL that a reference leads to. Within the same origin the user and password stay.
    public func resolving(_ reference: String) throws(Failure) -> WebSocketURL {
        var resolved = try WebSocketURL(try absolute(reference))
        // A user that the reference brings would be the server's choice, and sent in our name.
        resolved.userInfo = resolved.userInfo == nil && isSameOrigin(as: resolved) ? userInfo : nil
        return resolved
    }

    /// RFC 3986 section 5.2.2.
    private func absolute(_ text: String) throws(Failure) -> String {
        func wrong(_ problem: String) -> Failure { Failure(problem, of: text) }
        // In a fragment too, which nobody looks at later.
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
        // Not as a reference of its own: a target that begins with two slashes has no authority.
        let path = target.prefix { $0 != "?" }
        guard !reference.path.isEmpty else { return origin + (reference.query == nil ? target : path + query) }
        guard reference.path.utf8.first != UInt8(ascii: "/") else {
            return "\(origin)\(removingDotSegments(reference.path))\(query)"
        }
        // 5.2.3: in place of what is behind the last slash.
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
    // What ends with a dot segment ends with a slash.
    if let last = segments.last.map(Substring.init), last == "." || last == ".." { kept.append("") }
    return "/" + kept.joined(separator: "/")
}
