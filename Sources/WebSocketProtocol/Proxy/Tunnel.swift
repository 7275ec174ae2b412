// The client's side of the exchange with a proxy, until the stream of bytes to the host is through. What a
// handshake sends may follow then.

/// Why a proxy made no tunnel.
public struct TunnelFailure: Error, Equatable, Sendable {
    /// What the proxy ("it") did, for people: goes on after "the proxy http://127.0.0.1:3128 refused: ".
    public let reason: String
    /// The HTTP status, or the SOCKS reply code, when it answered with one that is no success.
    public let status: Int?
    /// The head of an HTTP answer that is no success.
    public let response: HTTPHead?

    init(reason: String, status: Int? = nil, response: HTTPHead? = nil) {
        self.reason = reason
        self.status = status
        self.response = response
    }

    /// An answer that breaks the rules.
    static func invalidResponse(_ reason: String) -> TunnelFailure { TunnelFailure(reason: reason) }

    /// The host waits for our first word: such bytes are not its, and what they mean to the proxy is not known.
    static let moreThanAnAnswer = invalidResponse("it sent more than its answer")
}

public struct Tunnel: ~Copyable {
    /// What is to be sent; the caller consumes it.
    public var output = ByteBuffer()
    private var connect = HTTPConnect()
    /// nil when the proxy speaks HTTP.
    private var socks: SOCKS5?

    /// - Parameter host: a name or an address, without brackets; checked, as `WebSocketURL` does it. For `.socks5`
    ///   the address that the name stands for.
    public init(_ proxy: Proxy, to host: String, port: Int, userAgent: String) throws(TunnelFailure) {
        switch proxy.kind {
        case .http:
            output.append(HTTPConnect.request(proxy, to: host, port: port, userAgent: userAgent))
        case .socks5, .socks5h:
            var exchange = try SOCKS5(proxy, to: host, port: port)
            exchange.greet(&output)
            socks = exchange
        }
    }

    /// Takes what the proxy sent; may add to `output`. True when the tunnel is through. After a failure the tunnel is
    /// of no use any more.
    public mutating func receive(_ input: UnsafeRawBufferPointer) throws(TunnelFailure) -> Bool {
        if socks != nil { try socks!.receive(input, &output) } else { try connect.receive(input) }
    }
}
