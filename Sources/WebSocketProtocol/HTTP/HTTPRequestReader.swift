// Reads the head of a request as it arrives (RFC 9112 sections 2 to 5). Stricter than HTTPHeadParser, which reads
// responses: a line that ends with LF alone, a folded line and a space before a colon are refused, because a proxy before
// the server may read them in another way. Sizes are limited before bytes are stored. Pure; used on the loop thread.

public struct HTTPRequestReader: ~Copyable {
    private var line = ByteBuffer()
    private var total = 0
    /// nil before the first line is whole.
    private var requestLine: HTTPRequestLine?
    private var fields = HeaderFields()

    public init() {}

    /// Reads the next bytes. Returns the request once its head is whole, and how many of these bytes belong to it: those
    /// behind it may be frames already. Not to be called after a request or a refusal.
    public mutating func read(
        _ input: UnsafeRawBufferPointer
    ) throws(RequestRefusal) -> (request: HTTPRequest, consumed: Int)? {
        var consumed = 0
        while consumed < input.count {
            let rest = UnsafeRawBufferPointer(rebasing: input[consumed...])
            let newline = rest.firstIndex(of: 0x0A)
            let piece = UnsafeRawBufferPointer(rebasing: rest[..<(newline.map { $0 + 1 } ?? rest.count)])
            if requestLine == nil, line.isEmpty { try checkFirstByte(piece[0]) }
            total += piece.count
            guard total <= HTTPHeadParser.maximumBytes else { throw tooLarge }
            guard line.append(piece) else {
                throw RequestRefusal(status: 503, "the server is out of memory")
            }
            guard newline != nil else { return nil }
            consumed += piece.count
            if let request = try endLine() { return (request, consumed) }
        }
        return nil
    }

    /// Before the line is whole, so that a client that speaks no HTTP is refused at once and not by a timeout.
    private func checkFirstByte(_ byte: UInt8) throws(RequestRefusal) {
        // RFC 8446 section 5.1: the type of the record that a ClientHello comes in.
        guard byte != 0x16 else { throw .badRequest("the client speaks TLS to a port without TLS") }
        // CR and LF may be an empty line.
        guard isTokenByte(byte) || byte == 0x0D || byte == 0x0A else { throw .badRequest("the request is not HTTP") }
    }

    /// RFC 9110 section 15.5.15, RFC 6585 section 5.
    private var tooLarge: RequestRefusal {
        let limit = HTTPHeadParser.maximumBytes
        guard requestLine == nil else {
            return RequestRefusal(status: 431, "the head of the request is larger than \(limit) bytes")
        }
        return RequestRefusal(status: 414, "the request line is longer than \(limit) bytes")
    }

    /// Parses the line that has ended. Returns the request at the empty line that ends the head.
    private mutating func endLine() throws(RequestRefusal) -> HTTPRequest? {
        defer { line.removeAll() }
        let withCR = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(line.bytes).dropLast())
        guard withCR.last == 0x0D else { throw .badRequest("a line of the request ends with LF, not with CR LF") }
        let bytes = UnsafeRawBufferPointer(rebasing: withCR.dropLast())
        guard !bytes.isEmpty else {
            // 2.2: an empty line before the request line is ignored.
            return try requestLine.map { line throws(RequestRefusal) in try HTTPRequest(line, fields) }
        }
        guard bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }) else {
            throw .badRequest("the head of the request has a control character")
        }
        if requestLine == nil {
            requestLine = try HTTPRequestLine(bytes)
        } else {
            try appendField(bytes)
        }
        return nil
    }

    /// Section 5.
    private mutating func appendField(_ bytes: UnsafeRawBufferPointer) throws(RequestRefusal) {
        // 2.2 and 5.2: neither white space before the first field nor a folded line.
        guard !isSpace(bytes[0]) else { throw .badRequest("a line of the request begins with white space") }
        guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")) else {
            throw .badRequest("a line of the request has no colon")
        }
        // 5.1: the rule is a MUST, because a proxy could take the field for another one.
        guard colon == 0 || !isSpace(bytes[colon - 1]) else {
            throw .badRequest("a field of the request has white space before its colon")
        }
        let name = String(decoding: bytes[..<colon], as: UTF8.self)
        guard isToken(name) else { throw .badRequest("a field of the request has a malformed name") }
        guard fields.fields.count < HTTPHeadParser.maximumFields else {
            throw RequestRefusal(status: 431, "the request has more than \(HTTPHeadParser.maximumFields) fields")
        }
        let value = String(decoding: bytes[(colon + 1)...], as: UTF8.self)
        fields.append(name, String(trim(Substring(value))))
    }

    private func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
}
