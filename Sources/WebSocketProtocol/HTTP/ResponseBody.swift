// The first bytes of a response's body, without its framing (RFC 9112 section 6.3), as far as they help a person
// to see why a handshake was refused. Never fails: what is malformed ends the body, or lasts to the end of the
// connection.

public struct ResponseBody: Sendable {
    /// What the next byte belongs to.
    private enum Framing {
        /// The body, to the end of the connection.
        case open
        /// The body, with so many bytes to come.
        case length(Int)
        /// The size of a chunk (section 7.1); nil before its first digit.
        case chunkSize(Int?)
        /// The rest of the size's line: extensions.
        case chunkLine(size: Int)
        case chunkData(Int)
        case chunkEnd
        /// Nothing of this body.
        case complete
    }

    /// Bytes of a body with its framing, which may have no end. Those behind them are ignored.
    private static let maximumBytes = 64 << 10

    private let limit: Int
    private var bytesLeft = maximumBytes
    private var framing: Framing
    private var bytes: [UInt8] = []

    /// - Parameter limit: so many bytes are kept.
    public init(_ head: HTTPHead, limit: Int) {
        self.limit = limit
        framing = Self.framing(of: head)
        if case .length(0) = framing { framing = .complete }
    }

    /// The rules of section 6.3 that an answer to GET can meet, in their order.
    private static func framing(of head: HTTPHead) -> Framing {
        if let status = head.status, status < 200 || status == 204 || status == 304 { return .complete }
        if let codings = head.fields["Transfer-Encoding"] {
            let last = trim(codings.split(separator: ",").last ?? "")
            return isEqual(String(last), "chunked", ignoringCase: true) ? .chunkSize(nil) : .open
        }
        // Several equal lengths are one.
        let lengths = head.fields["Content-Length"]?.split(separator: ",", omittingEmptySubsequences: false) ?? []
        let values = Set(lengths.map { length(trim($0)) })
        guard values.count == 1, let length = values.first ?? nil else { return .open }
        return .length(length)
    }

    private static func length(_ digits: Substring) -> Int? {
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        // More than an Int holds is more than anybody sends.
        return Int(digits) ?? .max
    }

    /// The announced end was reached, or as much is kept as may be.
    public var isComplete: Bool {
        if case .complete = framing { return true }
        return bytes.count >= limit
    }

    /// What is kept, as text. A character that the limit cuts is left out.
    public var text: String {
        var whole = bytes[...]
        if bytes.count >= limit, let lead = bytes.suffix(3).lastIndex(where: { $0 & 0xC0 != 0x80 }) {
            let length = bytes[lead] < 0xC0 ? 1 : bytes[lead] < 0xE0 ? 2 : bytes[lead] < 0xF0 ? 3 : 4
            if bytes.count - lead < length { whole = bytes[..<lead] }
        }
        return String(decoding: whole, as: UTF8.self)
    }

    public mutating func receive(_ input: UnsafeRawBufferPointer) {
        var rest = input.prefix(bytesLeft)
        bytesLeft -= rest.count
        defer { if bytesLeft == 0 { framing = .complete } }
        while !rest.isEmpty, !isComplete {
            switch framing {
            case .open: keep(rest.count, &rest)
            case .length(let count):
                let taken = keep(count, &rest)
                framing = taken == count ? .complete : .length(count - taken)
            case .chunkSize(let size):
                if let digit = Character(Unicode.Scalar(rest[rest.startIndex])).hexDigitValue {
                    rest = rest.dropFirst()
                    // Far more than is kept, and far from an overflow.
                    framing = .chunkSize(min((size ?? 0) << 4 | digit, 1 << 48))
                } else if let size, "; \t\r\n".utf8.contains(rest[rest.startIndex]) {
                    framing = .chunkLine(size: size)
                } else {
                    framing = .complete
                }
            case .chunkLine(let size):
                guard rest.removeFirst() == 0x0A else { continue }
                // The last chunk has no data; the trailers behind it tell a person nothing.
                framing = size == 0 ? .complete : .chunkData(size)
            case .chunkData(let count):
                let taken = keep(count, &rest)
                framing = taken == count ? .chunkEnd : .chunkData(count - taken)
            case .chunkEnd:
                switch rest.removeFirst() {
                case 0x0D: break
                case 0x0A: framing = .chunkSize(nil)
                default: framing = .complete
                }
            case .complete: return
            }
        }
    }

    /// Takes up to `count` bytes, and keeps as many as there is room for.
    @discardableResult
    private mutating func keep(_ count: Int, _ rest: inout Slice<UnsafeRawBufferPointer>) -> Int {
        let taken = rest.prefix(count)
        bytes += taken.prefix(limit - bytes.count)
        rest = rest[taken.endIndex...]
        return taken.count
    }
}
