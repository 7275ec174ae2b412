// The head of an HTTP/1.1 message, and the parser of a response's head as it arrives (RFC 9112 sections 2 to 5; requests
// are read by HTTPRequestReader): a start line, fields, an empty line. Interim responses before it are skipped. Sizes are
// limited before bytes are stored. A bare LF ends a line, as section 2.2 allows; a bare CR and other control characters
// fail. Pure; used on the loop thread by HandshakeExchange, HTTPConnect and ServerHandshake.

public struct HTTPHead: Equatable, Sendable {
    public internal(set) var startLine = ""
    public internal(set) var fields = HeaderFields()

    /// The start line, the fields and the empty line, as they are sent.
    public var text: String {
        "\(startLine)\r\n" + fields.fields.map { "\($0.name): \($0.value)\r\n" }.joined() + "\r\n"
    }

    /// The status of a response; nil when the start line is not an HTTP/1.x status line (section 4).
    public var status: Int? {
        let parts = startLine.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count >= 2, parts[0] == "HTTP/1.1" || parts[0] == "HTTP/1.0", parts[1].utf8.count == 3,
            parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let status = Int(parts[1]), status >= 100
        else { return nil }
        return status
    }

    /// Whether the final response is still to come (RFC 9110 section 15.2). 101 is a final response.
    public var isInterim: Bool { status.map { $0 < 200 && $0 != 101 } ?? false }

    /// Whether the status is a redirect that repeats a GET (RFC 9110 section 15.4).
    public var isRedirect: Bool { [301, 302, 303, 307, 308].contains(status) }

    /// The text after the status, as the server wrote it.
    public var reasonPhrase: String {
        let parts = startLine.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
        return parts.count == 3 ? String(parts[2]) : ""
    }
}

public struct HTTPHeadParser: ~Copyable {
    /// Upper bound of the bytes of the head and of the interim responses before it together.
    public static let maximumBytes = 64 << 10
    /// Upper bound of the fields of one head.
    public static let maximumFields = 256
    /// Upper bound of the interim responses before the head.
    public static let maximumInterimAnswers = 32

    /// Of every status line.
    private static let prefix = "HTTP/"

    private var head = HTTPHead()
    private var line = ByteBuffer()
    private var total = 0
    private var interimAnswers = 0
    private var hasStartLine = false

    public init() {}

    /// Parses the next bytes. Returns the head once it is whole, and how many of these bytes belong to it.
    public mutating func parse(
        _ input: UnsafeRawBufferPointer
    ) throws(HandshakeFailure) -> (head: HTTPHead, consumed: Int)? {
        var consumed = 0
        while consumed < input.count {
            let rest = UnsafeRawBufferPointer(rebasing: input[consumed...])
            let newline = rest.firstIndex(of: 0x0A)
            let piece = UnsafeRawBufferPointer(rebasing: rest[..<(newline ?? rest.count)])
            total += piece.count + (newline == nil ? 0 : 1)
            guard total <= Self.maximumBytes else {
                throw .invalidResponse(
                    "the head of its answer is larger than \(Self.maximumBytes) bytes"
                        + (interimAnswers > 0 ? ", interim answers included" : ""))
            }
            // Before the line is whole, so that a server that speaks no HTTP fails at once and not by a timeout.
            guard line.append(piece) else { throw .invalidResponse("out of memory for the head of its answer") }
            if !hasStartLine { try checkPrefix() }
            guard newline != nil else { return nil }
            consumed += piece.count + 1
            guard try endLine() else { continue }
            guard head.isInterim else { return (head, consumed) }
            try skipInterimAnswer()
        }
        return nil
    }

    /// RFC 9110 section 15.2: interim responses may come at any time before the final response.
    private mutating func skipInterimAnswer() throws(HandshakeFailure) {
        interimAnswers += 1
        guard interimAnswers <= Self.maximumInterimAnswers else {
            throw .invalidResponse("it sent more than \(Self.maximumInterimAnswers) interim answers")
        }
        head = HTTPHead()
        hasStartLine = false
    }

    /// Fails if the line so far is not the beginning of a start line.
    private func checkPrefix() throws(HandshakeFailure) {
        let bytes = line.bytes.prefix(Self.prefix.utf8.count)
        // A CR alone may belong to an empty line.
        guard Self.prefix.utf8.starts(with: bytes) || bytes.elementsEqual([0x0D]) else {
            throw .invalidResponse("its answer is not HTTP")
        }
    }

    /// Parses the line that has ended. Returns true for the empty line that ends the head.
    private mutating func endLine() throws(HandshakeFailure) -> Bool {
        var bytes = UnsafeRawBufferPointer(line.bytes)
        if bytes.last == 0x0D { bytes = UnsafeRawBufferPointer(rebasing: bytes.dropLast()) }
        defer { line.removeAll() }
        guard !bytes.isEmpty else {
            // 2.2: an empty line before the start line is ignored.
            return hasStartLine
        }
        // RFC 9110 section 5.5: CR, LF and NUL are dangerous in a value. The other controls are refused, too.
        guard bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }) else {
            throw .invalidResponse("the head of its answer has a control character")
        }
        guard hasStartLine else {
            head.startLine = String(decoding: bytes, as: UTF8.self)
            hasStartLine = true
            return false
        }
        guard bytes[0] != 0x20, bytes[0] != 0x09 else {
            guard !head.fields.fields.isEmpty else {
                throw .invalidResponse("the head of its answer has white space before its first field")
            }
            head.fields.fold(trim(Substring(String(decoding: bytes, as: UTF8.self))))
            return false
        }
        guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")) else {
            throw .invalidResponse("the head of its answer has a line without a colon")
        }
        // 5.1: no white space between the name and the colon.
        let name = String(decoding: bytes[..<colon], as: UTF8.self)
        guard isToken(name) else { throw .invalidResponse("the head of its answer has a field with a malformed name") }
        guard head.fields.fields.count < Self.maximumFields else {
            throw .invalidResponse("the head of its answer has more than \(Self.maximumFields) fields")
        }
        let value = String(decoding: bytes[(colon + 1)...], as: UTF8.self)
        head.fields.append(name, String(trim(Substring(value))))
        return false
    }
}
