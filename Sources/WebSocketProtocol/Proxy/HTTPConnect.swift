// A tunnel through an HTTP proxy: CONNECT (RFC 9110 section 9.3.6). Pure; used by Tunnel.

struct HTTPConnect: ~Copyable {
    private var parser = HTTPHeadParser()
    private var isEstablished = false

    static func request(_ proxy: Proxy, to host: String, port: Int, userAgent: String) -> String {
        let authority = "\(bracketed(host)):\(port)"
        var lines = ["CONNECT \(authority) HTTP/1.1", "Host: \(authority)", "User-Agent: \(userAgent)"]
        if let user = proxy.user {
            // RFC 7617 section 2; RFC 9110 section 11.7.2.
            lines.append("Proxy-Authorization: Basic " + base64(Array("\(user):\(proxy.password ?? "")".utf8)))
        }
        return lines.joined(separator: "\r\n") + "\r\n\r\n"
    }

    mutating func receive(_ input: UnsafeRawBufferPointer) throws(TunnelFailure) -> Bool {
        var rest = input
        if !isEstablished, let (head, consumed) = try parse(input) {
            try checkSuccess(head)
            isEstablished = true
            rest = UnsafeRawBufferPointer(rebasing: input[consumed...])
        }
        guard !isEstablished || rest.isEmpty else { throw .moreThanAnAnswer }
        return isEstablished
    }

    private mutating func parse(
        _ input: UnsafeRawBufferPointer
    ) throws(TunnelFailure) -> (head: HTTPHead, consumed: Int)? {
        do throws(HandshakeFailure) { return try parser.parse(input) } catch { throw .invalidResponse(error.reason) }
    }

    private func checkSuccess(_ head: HTTPHead) throws(TunnelFailure) {
        guard let status = head.status else { throw .invalidResponse("its answer is not HTTP/1.1") }
        // 9.3.6: such a response has no body; Content-Length and Transfer-Encoding are ignored.
        if (200...299).contains(status) { return }
        // The start line from the status on.
        let answer = quotedForError(trim(head.startLine.dropFirst("HTTP/1.1 ".count)))
        throw TunnelFailure(reason: "it answered \(answer)", status: status, response: head)
    }
}
