// The first line of a request (RFC 9112 section 3): method, target, version. Pure; used on the loop thread by
// HTTPRequestReader.

struct HTTPRequestLine: Equatable, Sendable {
    enum Version: Equatable, Sendable { case http10, http11 }

    let text: String
    let method: String
    let target: RequestTarget
    let version: Version

    /// - Parameter bytes: without the line's end, and without control characters other than tabs.
    init(_ bytes: UnsafeRawBufferPointer) throws(RequestRefusal) {
        // One space only (section 3): parsers that take other white space would see another target.
        let parts = bytes.split(separator: 0x20, omittingEmptySubsequences: false)
        guard parts.count == 3, !parts[0].isEmpty, parts[0].allSatisfy(isTokenByte) else {
            throw .badRequest("the request line is not a method, a target and a version")
        }
        text = String(decoding: bytes, as: UTF8.self)
        method = String(decoding: parts[0], as: UTF8.self)
        version = try Self.version(parts[2])
        target = try RequestTarget(parts[1], method: method)
    }

    /// Section 2.3: `HTTP/1.1`, in upper case.
    private static func version(_ bytes: Slice<UnsafeRawBufferPointer>) throws(RequestRefusal) -> Version {
        let digits = bytes.dropFirst(5)
        guard bytes.starts(with: "HTTP/".utf8), digits.count == 3, let major = digits.first, let minor = digits.last,
            digits.dropFirst().first == UInt8(ascii: "."), isDigit(major), isDigit(minor)
        else { throw .badRequest("the request line does not end with HTTP/1.1") }
        switch (major, minor) {
        case (UInt8(ascii: "1"), UInt8(ascii: "0")): return .http10
        case (UInt8(ascii: "1"), UInt8(ascii: "1")): return .http11
        // RFC 9113 section 3.4: HTTP/2 begins with a line of this form.
        default:
            let version = String(decoding: bytes, as: UTF8.self)
            throw RequestRefusal(status: 505, "the request is \(version), and this server speaks HTTP/1.1")
        }
    }
}
