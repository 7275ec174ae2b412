// A request that a server got, with the checks of RFC 9112 that keep a client from smuggling a second one past a proxy:
// one host, and a body of certain length. Pure; made by HTTPRequestReader on the loop thread, read on both threads.

public struct HTTPRequest: Equatable, Sendable {
    let line: HTTPRequestLine
    public let fields: HeaderFields
    /// nil only for HTTP/1.0, which has no Host field.
    let authority: Authority?
    /// A body follows, which nobody reads: the bytes behind the request are no frames.
    public let hasBody: Bool

    init(_ line: HTTPRequestLine, _ fields: HeaderFields) throws(RequestRefusal) {
        self.line = line
        self.fields = fields
        let host = try Self.host(line.version, fields)
        // 3.2.2: the host of a URL replaces the Host field.
        authority = line.target.authority ?? host
        hasBody = try Self.hasBody(line.version, fields)
    }

    public var method: String { line.method }
    /// As the client wrote it.
    public var target: String { line.target.text }
    /// Not decoded.
    public var path: String { line.target.path }
    /// Not decoded, without the question mark; nil without.
    public var query: String? { line.target.query }
    /// The subprotocols that the client offers, its favourite first.
    public var subprotocols: [String] { fields.list("Sec-WebSocket-Protocol") }
    /// The website whose script made the request; nil if no browser did (RFC 6454 section 7).
    public var origin: String? { fields["Origin"] }

    /// For debug lines.
    public var head: HTTPHead {
        var head = HTTPHead()
        head.startLine = line.text
        head.fields = fields
        return head
    }

    /// The URL that the client has connected to.
    /// - Parameter isSecure: whether the connection has TLS.
    public func url(isSecure: Bool) -> String {
        let host = authority.map { bracketed($0.host) + ($0.port.map { ":\($0)" } ?? "") } ?? ""
        return "\(isSecure ? "wss" : "ws")://\(host)\(path)\(query.map { "?\($0)" } ?? "")"
    }

    /// Section 3.2: one Host field, which is well-formed. HTTP/1.0 need not have it.
    private static func host(
        _ version: HTTPRequestLine.Version, _ fields: HeaderFields
    ) throws(RequestRefusal) -> Authority? {
        let hosts = fields.values("Host")
        guard hosts.count <= 1 else { throw .badRequest("the request has more than one Host field") }
        guard let host = hosts.first else {
            guard version == .http10 else { throw .badRequest("the request has no Host field") }
            return nil
        }
        guard let authority = try? Authority(host[...]), authority.user == nil else {
            throw .badRequest("the Host field of the request is not a host")
        }
        return authority
    }

    /// Section 6.3. Stricter than it must be: forms that servers and proxies read in different ways are refused.
    private static func hasBody(
        _ version: HTTPRequestLine.Version, _ fields: HeaderFields
    ) throws(RequestRefusal) -> Bool {
        let codings = fields.values("Transfer-Encoding")
        let lengths = fields.values("Content-Length")
        guard codings.isEmpty || lengths.isEmpty else {
            throw .badRequest("the request has both Transfer-Encoding and Content-Length")
        }
        guard lengths.count <= 1 else { throw .badRequest("the request has more than one Content-Length field") }
        if let length = lengths.first {
            guard !length.isEmpty, length.utf8.allSatisfy(isDigit) else {
                throw .badRequest("the Content-Length of the request is not a number")
            }
            return length.utf8.contains { $0 != UInt8(ascii: "0") }
        }
        guard !codings.isEmpty else { return false }
        // 6.1: HTTP/1.0 has no Transfer-Encoding.
        guard version == .http11, codings.count == 1, isEqual(codings[0], "chunked", ignoringCase: true) else {
            throw .badRequest("the Transfer-Encoding of the request is not chunked alone")
        }
        return true
    }
}
