// What a script asks of one websocket, checked; the defaults are here and nowhere else. Times are seconds,
// sizes bytes.

public import WebSocketProtocol

public struct Options: Sendable {
    public var url: WebSocketURL?
    public var headers = HeaderFields()
    public var protocols: [String] = []
    /// What to offer; nil: no compression.
    public var deflate: Deflate?
    public var minReconnectWait = 0.0
    public var maxReconnectWait = 10.0
    /// Attempts in a row after the first; nil: no end, 0: none.
    public var reconnect: Int?
    public var connectTimeout = 30.0
    public var closeTimeout = 5.0
    public var maxMessageSize = 64 << 20
    public var maxBuffered = 64 << 20
    public var maxQueued = 16 << 20

    public struct Deflate: Sendable {
        public var parameters = DeflateParameters()
        /// Of zlib; -1 is its default.
        public var level = -1
        /// Smaller messages go uncompressed.
        public var threshold = 64

        public init() {}
    }

    public init() {}
}

// MARK: - Checks

extension Options {
    /// What is wrong with a value: goes on after the option's name.
    public struct Failure: Error {
        public let reason: String

        public init(_ reason: String) { self.reason = reason }
    }

    public mutating func setURL(_ text: String) throws(Failure) {
        let url: WebSocketURL
        do throws(WebSocketURL.Failure) { url = try WebSocketURL(text) } catch {
            throw Failure("is wrong: \(error.reason)")
        }
        guard !url.isSecure else { throw Failure("with TLS (wss, https) is not supported yet") }
        guard url.socketPath == nil else { throw Failure("of a Unix socket (ws+unix) is not supported yet") }
        self.url = url
    }

    public mutating func addProtocol(_ name: String) throws(Failure) {
        // RFC 6455 section 4.1, point 10: tokens, each of them once.
        guard isToken(name) else {
            throw Failure("has a name that is not a token (RFC 9110 5.6.2): '\(printable(name))'")
        }
        guard !protocols.contains(name) else { throw Failure("names '\(name)' twice") }
        protocols.append(name)
    }

    public mutating func addHeader(_ name: String, _ value: String) throws(Failure) {
        guard isToken(name) else {
            throw Failure("has a name that is not a token (RFC 9110 5.6.2): '\(printable(name))'")
        }
        guard isFieldValue(value) else { throw Failure("has a control character in the value of '\(name)'") }
        guard !ClientHandshake.reserved.contains(name.lowercased()) else {
            throw Failure("must not set '\(name)': it belongs to the handshake")
        }
        headers.append(name, value)
    }

    private func printable(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? "?" : $0 }))
    }

    public static func seconds(_ value: Double) throws(Failure) -> Double {
        // False for NaN as well.
        guard value >= 0 else { throw Failure("must be a number of seconds, 0 or more") }
        return value
    }

    public static func size(_ value: Double) throws(Failure) -> Int {
        try integer(value, in: 0...(1 << 53), "a whole number, 0 or more")
    }

    public static func integer(
        _ value: Double, in range: ClosedRange<Int>, _ what: String? = nil
    ) throws(Failure) -> Int {
        // What no Int can hold is infinity for a limit.
        if value == .infinity, what != nil { return range.upperBound }
        guard let integer = Int(exactly: value), range.contains(integer) else {
            throw Failure("must be \(what ?? "a whole number from \(range.lowerBound) to \(range.upperBound)")")
        }
        return integer
    }
}
