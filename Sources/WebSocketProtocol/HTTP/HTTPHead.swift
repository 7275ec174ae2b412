// The head of an HTTP/1.1 message, read as it arrives (RFC 9112 sections 2 to 5): a start line, fields, an
// empty line. Each byte is looked at once; limits hold before anything is kept. Interim answers before it are skipped.
//
// A bare LF ends a line, as section 2.2 allows; a bare CR and a control character do not pass.

public struct HTTPHead: Equatable, Sendable {
    public internal(set) var startLine = ""
    public internal(set) var fields = HeaderFields()

    /// The status of a response; nil when the start line is not an HTTP/1.x status line (section 4).
    public var status: Int? {
        let parts = startLine.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count >= 2, parts[0] == "HTTP/1.1" || parts[0] == "HTTP/1.0", parts[1].utf8.count == 3,
            parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let status = Int(parts[1]), status >= 100
        else { return nil }
        return status
    }

    /// Whether the answer is still to come (RFC 9110 section 15.2). 101 is one.
    public var isInterim: Bool { status.map { $0 < 200 && $0 != 101 } ?? false }

    /// Whether it leads to another place (RFC 9110 section 15.4): to the same request, since there is no other.
    public var isRedirect: Bool { [301, 302, 303, 307, 308].contains(status) }

    /// The words after the status, as the server wrote them.
    public var reasonPhrase: String {
        let parts = startLine.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
        return parts.count == 3 ? String(parts[2]) : ""
    }
}

public struct HTTPHeadParser: ~Copyable {
    /// Bytes of the head and of the interim answers before it, all together. More are refused.
    public static let maximumBytes = 64 << 10
    /// Header fields of one head. More are refused.
    public static let maximumFields = 256
    /// Interim answers before the head. More are refused.
    public static let maximumInterimAnswers = 32

    private let beginning: String
    private var head = HTTPHead()
    private var line = ByteBuffer()
    private var total = 0
    private var interimAnswers = 0
    private var hasStartLine = false

    /// - Parameter beginning: what a start line begins with; "" for a request, which has any method.
    public init(beginning: String = "HTTP/") { self.beginning = beginning }

    /// Takes the next bytes. Once the head is whole, returns it and how many of these bytes belonged to it.
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
            // Before any line is whole, what can't become a status line is told from a slow one.
            guard line.append(piece) else { throw .invalidResponse("out of memory for the head of its answer") }
            if !hasStartLine { try checkBeginning() }
            guard newline != nil else { return nil }
            consumed += piece.count + 1
            guard try endLine() else { continue }
            guard head.isInterim else { return (head, consumed) }
            try skipInterimAnswer()
        }
        return nil
    }

    /// RFC 9110 section 15.2: interim answers may come before the answer, asked for or not.
    private mutating func skipInterimAnswer() throws(HandshakeFailure) {
        interimAnswers += 1
        guard interimAnswers <= Self.maximumInterimAnswers else {
            throw .invalidResponse("it sent more than \(Self.maximumInterimAnswers) interim answers")
        }
        head = HTTPHead()
        hasStartLine = false
    }

    /// A server that is no HTTP server shows it in its first bytes; it may never send a line's end.
    private func checkBeginning() throws(HandshakeFailure) {
        let begun = line.bytes.prefix(beginning.utf8.count)
        // A CR may be that of an empty line.
        guard beginning.utf8.starts(with: begun) || begun.elementsEqual([0x0D]) else {
            throw .invalidResponse("its answer is not HTTP")
        }
    }

    /// Takes the line that has ended; true when it was the empty one.
    private mutating func endLine() throws(HandshakeFailure) -> Bool {
        var bytes = UnsafeRawBufferPointer(line.bytes)
        if bytes.last == 0x0D { bytes = UnsafeRawBufferPointer(rebasing: bytes.dropLast()) }
        defer { line.removeAll() }
        guard !bytes.isEmpty else {
            // 2.2: an empty line before the start line is to be ignored.
            return hasStartLine
        }
        // 5.5 of RFC 9110: CR, LF and NUL are dangerous in a value; the other controls have no place either.
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
