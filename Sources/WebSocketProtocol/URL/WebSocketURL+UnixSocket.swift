// URLs of servers on Unix sockets: `ws+unix:/path.sock:/request?query`, or with `ws+unix://`. The socket's path ends
// at the first colon; a colon in the path is written %3A. Pure; called on Lua's thread and on the loop thread.

extension WebSocketURL {
    /// Bytes of `sun_path` on Linux, less one for the NUL.
    private static let maximumSocketPath = 107

    /// The socket's path, decoded, and the request's target; nil for other schemes.
    static func parseUnixSocket(_ text: String) throws(Failure) -> (path: String, target: String)? {
        func wrong(_ problem: String) -> Failure { Failure(problem, of: text) }
        let scheme = "ws+unix:"
        guard isEqual(String(decoding: text.utf8.prefix(scheme.utf8.count), as: UTF8.self), scheme, ignoringCase: true)
        else { return nil }
        var rest = text.utf8.dropFirst(scheme.utf8.count)
        if rest.starts(with: "//".utf8) { rest = rest.dropFirst(2) }
        let pathEnd = rest.firstIndex { ":?#".utf8.contains($0) } ?? rest.endIndex
        guard let path = percentDecoded(Substring(rest[..<pathEnd])) else {
            throw wrong("the socket's path has a bad %-escape")
        }
        guard !path.isEmpty else { throw wrong("it has no socket's path; write ws+unix:/path.sock:/request") }
        guard path.utf8.first == UInt8(ascii: "/") else {
            throw wrong("the socket's path must begin with a slash, as in ws+unix:/path.sock:/request")
        }
        guard !path.utf8.contains(0) else { throw wrong("the socket's path has a NUL") }
        guard path.utf8.count <= maximumSocketPath else {
            throw wrong("the socket's path is longer than \(maximumSocketPath) bytes")
        }
        var request = rest[pathEnd...]
        if request.first == UInt8(ascii: ":") { request = request.dropFirst() }
        // Mostly a path with a colon that should be written %3A.
        guard request.first.map({ "/?#".utf8.contains($0) }) ?? true else {
            throw wrong("behind the socket's path and a colon the request must begin with a slash")
        }
        guard let target = requestTarget(Substring(request)) else {
            throw wrong("it has a % that is not followed by two hex digits")
        }
        return (path, target)
    }

    /// The URL without the target.
    static func unixSocket(_ path: String) -> String {
        let escaped = path.utf8.flatMap { byte in
            isTokenByte(byte) && !"#%^`|".utf8.contains(byte) || byte == UInt8(ascii: "/")
                ? [byte] : percentEncoded(byte)
        }
        // Otherwise two slashes at the start of the path would be read as those of `ws+unix://`.
        let slashes = path.utf8.starts(with: "//".utf8) ? "//" : ""
        return "ws+unix:\(slashes)\(String(decoding: escaped, as: UTF8.self)):"
    }
}
