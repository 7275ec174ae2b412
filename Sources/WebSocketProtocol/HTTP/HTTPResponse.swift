// A response that does not open a WebSocket connection: a script's, or a refusal. The connection ends with it. Pure;
// made on both threads, written on the loop thread.

public struct HTTPResponse: Equatable, Sendable {
    public let status: Int
    private let fields: HeaderFields
    private let body: [UInt8]

    /// A script's response.
    /// - Parameter status: 200 to 599. A 1xx response would not be the last one (RFC 9110 section 15.2).
    public init(status: Int, headers: HeaderFields = HeaderFields(), body: [UInt8] = []) throws(AnswerFailure) {
        guard (200...599).contains(status) else {
            throw AnswerFailure("its status is \(status), not a number from 200 to 599")
        }
        try headers.checkForAnswer()
        self.status = status
        fields = headers
        self.body = body
    }

    init(_ refusal: RequestRefusal) {
        status = refusal.status
        var fields = refusal.fields
        fields.append("Content-Type", "text/plain; charset=utf-8")
        self.fields = fields
        body = Array("\(status) \(Self.reasonPhrase(of: status)): \(refusal.reason)\n".utf8)
    }

    /// The status line and the fields.
    public var head: HTTPHead {
        var head = HTTPHead()
        head.startLine = "HTTP/1.1 \(status) \(Self.reasonPhrase(of: status))"
        head.fields = fields
        // RFC 9110 section 8.6: not in a 204. That of a 304 would be the length of the page that is not sent.
        if status != 204, status != 304 { head.fields.append("Content-Length", "\(hasContent ? body.count : 0)") }
        // RFC 9110 section 7.8: the field Upgrade must be named.
        head.fields.append("Connection", fields["Upgrade"] == nil ? "close" : "close, Upgrade")
        return head
    }

    /// RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5: such a response has no body.
    private var hasContent: Bool { ![204, 205, 304].contains(status) }

    /// Appends the response to a request with this method; nil if the request could not be read. Returns false if
    /// allocation fails; `output` may have a part of the response then.
    public func append(to output: inout ByteBuffer, method: String?) -> Bool {
        guard output.append(head.text) else { return false }
        // RFC 9110 section 9.3.2: the head is that of GET.
        guard hasContent, method != "HEAD" else { return true }
        return body.withUnsafeBytes { output.append($0) }
    }

    /// RFC 9110 section 15, RFC 6585; "" for other statuses, which need none (RFC 9112 section 4).
    private static func reasonPhrase(of status: Int) -> String {
        switch status {
        case 200: "OK"
        case 201: "Created"
        case 202: "Accepted"
        case 204: "No Content"
        case 301: "Moved Permanently"
        case 302: "Found"
        case 303: "See Other"
        case 304: "Not Modified"
        case 307: "Temporary Redirect"
        case 308: "Permanent Redirect"
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 408: "Request Timeout"
        case 409: "Conflict"
        case 410: "Gone"
        case 414: "URI Too Long"
        case 426: "Upgrade Required"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 500: "Internal Server Error"
        case 501: "Not Implemented"
        case 503: "Service Unavailable"
        case 505: "HTTP Version Not Supported"
        default: ""
        }
    }
}
