// The options of one websocket with their defaults and limits. Times are in seconds, sizes in bytes. CLua's options.c
// knows each option's name and types; Bridge.swift sets it here, on the thread that runs the Lua state. Afterwards
// nobody changes the options, and the loop reads them.

import CLinux
import Glibc
public import WebSocketProtocol

public struct Options: Sendable {
    // The hot fields first: they are read for every read or message.
    public var maxQueued = 16 << 20
    /// The script has a debug function.
    public var debug = false
    /// The script has a function onattempt.
    public var asksBeforeAttempt = false
    public var maxBuffered = 64 << 20

    public var url: WebSocketURL?
    public var headers = HeaderFields()
    public var protocols: [String] = []
    /// nil: compression is not offered.
    public var deflate: Deflate?
    public var minReconnectWait = 0.0
    public var maxReconnectWait = 10.0
    /// Attempts in a row after the first; nil: without end.
    public var reconnect: Int?
    public var connectTimeout = 30.0
    public var closeTimeout = 5.0
    public var maxMessageSize = 64 << 20
    /// Time without a byte from the peer after which a ping is sent; 0: never.
    public var pingInterval = 0.0
    /// Time that the peer has to answer a ping.
    public var pongTimeout = 20.0
    public var tls = TLS()
    public var proxy = ProxyChoice.none
    /// nil: the system chooses.
    var localAddress: LocalAddress?
    public var maxRedirects = 5

    public enum ProxyChoice: Sendable {
        case environment(ProxyEnvironment)
        case none
        case fixed(Proxy)
    }

    public struct TLS: Sendable, Hashable {
        /// Our part in the handshake. A server has no use for `verifies`, `serverName` and `pins`.
        public enum Role: Sendable, Hashable { case client, server }

        /// The lowest version that is accepted, by OpenSSL's number.
        public enum Version: Int32, Sendable {
            case tls12 = 0x0303
            case tls13 = 0x0304
        }

        public var role = Role.client
        /// The trusted CAs: a file, a folder, or PEM text. nil: a client trusts those of the system, a server asks for no
        /// certificate.
        public var ca: String?
        /// A file or PEM text.
        public var certificate: String?
        /// A file or PEM text; nil: the key is read from `certificate`.
        public var key: String?
        public var password: String?
        public var verifies = true
        /// The name for SNI and for the check of the certificate; nil: the URL's host.
        public var serverName: String?
        public var minimumVersion = Version.tls12
        public var ciphers: String?
        /// The server's key must be one of these, each the Base64 of the SHA-256 of its SPKI; empty: any key.
        public var pins: Set<String> = []
        /// The file for the secrets of all connections; nil: none.
        var keyLog: String?

        /// For another origin than that of the script's URL: without our certificate, and without the script's name.
        var withoutIdentity: TLS {
            var options = self
            options.certificate = nil
            options.key = nil
            options.password = nil
            options.serverName = nil
            return options
        }
    }

    public struct Deflate: Sendable {
        public var parameters = DeflateParameters()
        /// zlib's level; -1 is zlib's default.
        public var level = -1
        /// Smaller messages are not compressed.
        public var threshold = 64

        public init() {}
    }

    public init() {}
}

// MARK: - Options by name

extension Options {
    /// Why a value is wrong: the rest of a sentence that begins with the option's name.
    public struct Failure: Error, Equatable {
        public let reason: String

        public init(_ reason: String) { self.reason = reason }
    }

    /// A value of a script's table. C has checked that the option is known and takes this type (options.c).
    public enum Value: Sendable {
        case string(String)
        case number(Double)
        /// Also true for a function, and for a table of options that could be a boolean.
        case boolean(Bool)
        /// A list begins: its elements follow, and replace those that there were.
        case list
    }

    /// Sets one option. `path` is its name in the script's table, such as "tls.ca"; a list is set element by element.
    public mutating func set(_ path: String, _ value: Value) throws(Failure) {
        switch (path, value) {
        case ("url", .string(let text)): try setURL(text)
        case ("onreceive", .boolean): break  // only Lua needs it
        case ("debug", .boolean): debug = true
        case ("onattempt", .boolean): asksBeforeAttempt = true
        case ("minreconnectwait", .number(let value)): minReconnectWait = try Self.seconds(value)
        case ("maxreconnectwait", .number(let value)): maxReconnectWait = try Self.seconds(value)
        case ("reconnect", .boolean(let value)): reconnect = value ? nil : 0
        case ("reconnect", .number(let value)): reconnect = try Self.size(value)
        case ("headers", .list): headers = HeaderFields()
        case ("protocols", .list): protocols = []
        case ("protocols", .string(let name)): try addProtocol(name)
        case ("connecttimeout", .number(let value)): connectTimeout = try Self.seconds(value)
        case ("closetimeout", .number(let value)): closeTimeout = try Self.seconds(value)
        case ("maxmessagesize", .number(let value)): maxMessageSize = try Self.size(value)
        case ("maxbuffered", .number(let value)): maxBuffered = try Self.size(value)
        case ("maxqueued", .number(let value)): maxQueued = try Self.size(value)
        case ("pinginterval", .number(let value)): pingInterval = try Self.seconds(value)
        case ("pongtimeout", .number(let value)): pongTimeout = try Self.seconds(value)
        case ("maxredirects", .number(let value)): maxRedirects = try Self.size(value)
        case ("proxy", .string(let text)): try setProxy(text)
        case ("proxy", .boolean(false)): proxy = .none
        case ("proxy", .boolean(true)): throw Failure("must be a URL or false, not true")
        case ("localaddress", .string(let text)): localAddress = try LocalAddress(text)
        case ("tls.ca", .string(let text)): tls.ca = try Self.cString(text)
        case ("tls.cert", .string(let text)): tls.certificate = try Self.cString(text)
        case ("tls.key", .string(let text)): tls.key = try Self.cString(text)
        case ("tls.password", .string(let text)): tls.password = text
        case ("tls.verify", .boolean(let value)): tls.verifies = value
        case ("tls.servername", .string(let name)): try setServerName(name)
        case ("tls.minversion", .string(let text)): try setMinimumVersion(text)
        case ("tls.ciphers", .string(let text)): tls.ciphers = try Self.cString(text)
        case ("tls.pin", .list): tls.pins = []
        case ("tls.pin", .string(let text)): try addPin(text)
        case ("deflate", .boolean(let value)): deflate = value ? Deflate() : nil
        case ("deflate.level", .number(let value)): deflate?.level = try Self.integer(value, in: 0...9)
        case ("deflate.threshold", .number(let value)): deflate?.threshold = try Self.size(value)
        case ("deflate.clientwindow", .number(let value)):
            deflate?.parameters.client.windowBits = try Self.integer(value, in: 9...15)
        case ("deflate.serverwindow", .number(let value)):
            deflate?.parameters.server.windowBits = try Self.integer(value, in: 9...15)
        case ("deflate.clienttakeover", .boolean(let value)): deflate?.parameters.client.takeover = value
        case ("deflate.servertakeover", .boolean(let value)): deflate?.parameters.server.takeover = value
        default: throw Failure("is unknown")
        }
    }

    /// A string that OpenSSL gets as a C string.
    private static func cString(_ text: String) throws(Failure) -> String {
        guard !text.isEmpty, !text.utf8.contains(0) else { throw Failure("must not be empty or have a NUL in it") }
        return text
    }

    public mutating func setURL(_ text: String) throws(Failure) {
        let url: WebSocketURL
        do throws(WebSocketURL.Failure) { url = try WebSocketURL(text) } catch {
            throw Failure("is wrong: \(error.reason)")
        }
        self.url = url
    }

    public mutating func addProtocol(_ name: String) throws(Failure) {
        // RFC 6455 section 4.1, point 10: each is a token, and none comes twice.
        guard isToken(name) else {
            throw Failure("has a name that is not a token (RFC 9110 5.6.2): '\(quotedForError(name))'")
        }
        guard !protocols.contains(name) else { throw Failure("names '\(quotedForError(name))' twice") }
        protocols.append(name)
    }

    public mutating func setProxy(_ text: String) throws(Failure) {
        do throws(Proxy.Failure) { proxy = .fixed(try Proxy(text)) } catch {
            throw Failure("is wrong: \(error.reason)")
        }
    }

    /// The default in a script: the proxy is chosen by the environment's variables.
    public mutating func setProxyFromEnvironment() {
        func bytes(_ value: UnsafePointer<CChar>) -> [UInt8] {
            Array(UnsafeRawBufferPointer(start: value, count: strlen(value)))
        }
        proxy = .environment(ProxyEnvironment { name in getenv(name).map { bytes($0) } })
    }

    /// The secrets of TLS go to the file of SSLKEYLOGFILE, except in a program that has more rights than its user.
    public mutating func setKeyLogFromEnvironment() {
        tls.keyLog = ws_get_variable("SSLKEYLOGFILE").flatMap { String(validatingCString: $0) }
    }

    func proxy(for url: WebSocketURL) throws(Proxy.Failure) -> Proxy? {
        guard url.socketPath == nil else { return nil }
        switch proxy {
        case .environment(let environment): return try environment.proxy(for: url)
        case .none: return nil
        case .fixed(let proxy): return proxy
        }
    }

    public mutating func addPin(_ text: String) throws(Failure) {
        // The format of curl's --pinnedpubkey, which may have several pins in one text.
        for pin in text.split(separator: ";", omittingEmptySubsequences: false) {
            let prefix = "sha256//"
            let digest = pin.dropFirst(prefix.count).utf8
            // 32 bytes in Base64.
            guard pin.hasPrefix(prefix), digest.count == 44, digest.last == UInt8(ascii: "="),
                digest.dropLast().allSatisfy({ isBase64($0) })
            else {
                throw Failure("must be sha256// and the Base64 of a SHA-256, not '\(quotedForError(pin))'")
            }
            tls.pins.insert(String(digest) ?? "")
        }
    }

    public mutating func setServerName(_ name: String) throws(Failure) {
        guard isHostName(name), name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "*") }) else {
            throw Failure("must be a host's name or address, not '\(quotedForError(name))'")
        }
        tls.serverName = name
    }

    public mutating func setMinimumVersion(_ text: String) throws(Failure) {
        switch text {
        case "1.2": tls.minimumVersion = .tls12
        case "1.3": tls.minimumVersion = .tls13
        default: throw Failure("must be \"1.2\" or \"1.3\", not '\(quotedForError(text))'")
        }
    }

    public mutating func addHeader(_ name: String, _ value: String) throws(Failure) {
        guard isToken(name) else {
            throw Failure("has a name that is not a token (RFC 9110 5.6.2): '\(quotedForError(name))'")
        }
        guard isFieldValue(value) else {
            throw Failure("has a control character in the value of '\(quotedForError(name))'")
        }
        guard !ClientHandshake.reserved.contains(name.lowercased()) else {
            throw Failure("must not set '\(name)': it belongs to the handshake")
        }
        guard name.lowercased() != "host" || headers["Host"] == nil else {
            throw Failure("must not set '\(name)' twice (RFC 9112 3.2)")
        }
        headers.append(name, value)
    }

    private func isBase64(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "/"):
            true
        default: false
        }
    }

    public static func seconds(_ value: Double) throws(Failure) -> Double {
        // NaN fails this, too.
        guard value >= 0 else { throw Failure("must be a number of seconds, 0 or more") }
        return value
    }

    public static func size(_ value: Double) throws(Failure) -> Int {
        // A Double beyond 2^53, infinity as well, means that there is no limit.
        try integer(min(value, 0x1p53), in: 0...(1 << 53), "a whole number, 0 or more")
    }

    public static func integer(
        _ value: Double, in range: ClosedRange<Int>, _ what: String? = nil
    ) throws(Failure) -> Int {
        guard let integer = Int(exactly: value), range.contains(integer) else {
            throw Failure("must be \(what ?? "a whole number from \(range.lowerBound) to \(range.upperBound)")")
        }
        return integer
    }
}
