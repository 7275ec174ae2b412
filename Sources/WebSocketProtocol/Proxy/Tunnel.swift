// The client's side of the exchange with a proxy, up to the moment when bytes reach the host. Pure: the proxy's bytes
// in, bytes for it out. Used on the loop thread by ProxyExchange.

/// Why a proxy made no tunnel.
public struct TunnelFailure: Error, Equatable, Sendable {
    /// Text that continues "the proxy http://127.0.0.1:3128 refused: "; "it" is the proxy.
    public let reason: String
    /// The HTTP status or the SOCKS reply code of an answer that is no success.
    public let status: Int?
    /// The head of an HTTP response that is no success.
    public let response: HTTPHead?

    init(reason: String, status: Int? = nil, response: HTTPHead? = nil) {
        self.reason = reason
        self.status = status
        self.response = response
    }

    /// An answer that breaks the rules.
    static func invalidResponse(_ reason: String) -> TunnelFailure { TunnelFailure(reason: reason) }

    /// The host speaks only after us, so these bytes are the proxy's, and their meaning is unknown.
    static let moreThanAnAnswer = invalidResponse("it sent more than its answer")
}

public struct Tunnel: ~Copyable {
    /// Bytes to send; the caller removes those that it has sent.
    public var output = ByteBuffer()
    private var connect = HTTPConnect()
    /// nil when the proxy speaks HTTP.
    private var socks: SOCKS5?

    /// - Parameter host: a name or an address without brackets, checked by WebSocketURL. For `.socks5` it is the
    ///   address that the name was resolved to.
    public init(_ proxy: Proxy, to host: String, port: Int, userAgent: String) throws(TunnelFailure) {
        switch proxy.kind {
        case .http:
            output.append(HTTPConnect.request(proxy, to: host, port: port, userAgent: userAgent))
        case .socks5, .socks5h:
            var exchange = try SOCKS5(proxy, to: host, port: port)
            exchange.sendGreeting(&output)
            socks = exchange
        }
    }

    /// Parses bytes of the proxy and may append to `output`. Returns true when the tunnel is established. Not to be
    /// called after a failure.
    public mutating func receive(_ input: UnsafeRawBufferPointer) throws(TunnelFailure) -> Bool {
        if socks != nil { try socks!.receive(input, &output) } else { try connect.receive(input) }
    }
}
