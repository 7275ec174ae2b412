// The first bytes of the body of a response that refuses the handshake, without its framing (RFC 9112 section 6.3):
// they are shown to the script as the reason. Never fails: malformed framing ends the body, or the body lasts to the
// end of the connection. Pure; used on the loop thread by HandshakeExchange.

public struct ResponseBody: Sendable {
    /// The part that the next byte belongs to.
    private enum Framing {
        /// A body that lasts to the end of the connection.
        case open
        /// A body with this many bytes to come.
        case length(Int)
        /// The size of a chunk so far (section 7.1); nil before its first digit.
        case chunkSize(Int?)
        /// Extensions, after the size.
        case chunkLine(size: Int)
        /// Data of a chunk with this many bytes to come.
        case chunkData(Int)
        /// The line end after the data.
        case chunkEnd
        /// The body has ended.
        case complete
    }

    /// Upper bound of the bytes read, framing included; the framing alone might never end.
    private static let maximumBytes = 64 << 10

    private let limit: Int
    private var bytesLeft = maximumBytes
    private var framing: Framing
    private var bytes: [UInt8] = []

    /// - Parameter limit: upper bound of the bytes kept.
    public init(_ head: HTTPHead, limit: Int) {
        self.limit = limit
        framing = Self.framing(of: head)
        if case .length(0) = framing { framing = .complete }
    }

    /// The rules of section 6.3 that apply to a response to GET, in their order.
    private static func framing(of head: HTTPHead) -> Framing {
        if let status = head.status, status < 200 || status == 204 || status == 304 { return .complete }
        if let codings = head.fields["Transfer-Encoding"] {
            let last = trim(codings.split(separator: ",").last ?? "")
            return isEqual(String(last), "chunked", ignoringCase: true) ? .chunkSize(nil) : .open
        }
        // Equal lengths in several fields are allowed.
        let lengths = head.fields["Content-Length"]?.split(separator: ",", omittingEmptySubsequences: false) ?? []
        let values = Set(lengths.map { length(trim($0)) })
        guard values.count == 1, let length = values.first ?? nil else { return .open }
        return .length(length)
    }

    private static func length(_ digits: Substring) -> Int? {
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        // A number that does not fit into Int stands for "more than is read".
        return Int(digits) ?? .max
    }

    /// Whether the body has ended, or `limit` bytes are kept.
    public var isComplete: Bool {
        if case .complete = framing { return true }
        return bytes.count >= limit
    }

    /// The bytes kept, as text, without a character that the limit has cut.
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
                let removed = keep(count, &rest)
                framing = removed == count ? .complete : .length(count - removed)
            case .chunkSize(let size):
                if let digit = Character(Unicode.Scalar(rest[rest.startIndex])).hexDigitValue {
                    rest = rest.dropFirst()
                    // Bounded, so that it does not overflow.
                    framing = .chunkSize(min((size ?? 0) << 4 | digit, 1 << 48))
                } else if let size, "; \t\r\n".utf8.contains(rest[rest.startIndex]) {
                    framing = .chunkLine(size: size)
                } else {
                    framing = .complete
                }
            case .chunkLine(let size):
                guard rest.removeFirst() == 0x0A else { continue }
                // The last chunk has no data. The trailers are not read.
                framing = size == 0 ? .complete : .chunkData(size)
            case .chunkData(let count):
                let removed = keep(count, &rest)
                framing = removed == count ? .chunkEnd : .chunkData(count - removed)
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

    /// Removes up to `count` bytes from `rest` and keeps those that `limit` allows. Returns how many were removed.
    @discardableResult
    private mutating func keep(_ count: Int, _ rest: inout Slice<UnsafeRawBufferPointer>) -> Int {
        let removed = rest.prefix(count)
        bytes += removed.prefix(limit - bytes.count)
        rest = rest[removed.endIndex...]
        return removed.count
    }
}
