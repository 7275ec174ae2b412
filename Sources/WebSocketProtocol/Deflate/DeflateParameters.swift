// The parameters of permessage-deflate and their negotiation (RFC 7692 section 7.1). Pure; called on the loop thread by
// ClientHandshake and ServerHandshake.

public struct DeflateParameters: Equatable, Sendable {
    /// Compression of the messages that one side sends.
    public struct Direction: Equatable, Sendable {
        /// Base-2 logarithm of the LZ77 window's size in bytes: 8 to 15.
        public var windowBits: Int
        /// Context takeover: a message may refer to the messages before it.
        public var takeover: Bool

        public init(windowBits: Int = 15, takeover: Bool = true) {
            self.windowBits = windowBits
            self.takeover = takeover
        }
    }

    public var client = Direction()
    public var server = Direction()

    public init(client: Direction = Direction(), server: Direction = Direction()) {
        self.client = client
        self.server = server
    }

    static let extensionName = "permessage-deflate"

    // MARK: - Client

    /// The value of `Sec-WebSocket-Extensions` that offers these parameters. A server that can't do what an offer
    /// asks of it declines the offer (RFC 7692 section 5.1), so a second offer follows that asks for nothing.
    var offer: String {
        var offer = Self.extensionName
        if !server.takeover { offer += "; server_no_context_takeover" }
        if !client.takeover { offer += "; client_no_context_takeover" }
        if server.windowBits < 15 { offer += "; server_max_window_bits=\(server.windowBits)" }
        // 7.1.2.2: without a value it allows the server to choose a window for us.
        offer += "; client_max_window_bits"
        if client.windowBits < 15 { offer += "=\(client.windowBits)" }
        if hasPlainOffer { offer += ", \(DeflateParameters().offer)" }
        return offer
    }

    /// Whether `offer` ends with the plain offer, to which the server may answer with any parameters for itself.
    private var hasPlainOffer: Bool { server != Direction() }

    /// The parameters that result from the server's answer. An answer that fits neither offer fails the handshake
    /// (section 7.1).
    func negotiated(from answer: [ExtensionParameter]) throws(HandshakeFailure) -> DeflateParameters {
        var agreed = DeflateParameters(client: Direction(takeover: client.takeover))
        var seen: Set<String> = []
        for parameter in answer {
            guard seen.insert(parameter.name).inserted else {
                throw .invalidResponse("its permessage-deflate answer repeats \(parameter.name)")
            }
            switch parameter.name {
            case "server_no_context_takeover":
                try parameter.requireNoValue()
                agreed.server.takeover = false
            case "client_no_context_takeover":
                try parameter.requireNoValue()
                agreed.client.takeover = false
            case "server_max_window_bits":
                agreed.server.windowBits = try parameter.windowBits(atMost: 15)
            case "client_max_window_bits":
                agreed.client.windowBits = try parameter.windowBits(atMost: hasPlainOffer ? 15 : client.windowBits)
            default:
                throw .invalidResponse("its permessage-deflate answer has the unknown parameter \(parameter.name)")
            }
        }
        // 7.1.2.2: if the server does not limit our window, our own limit still holds.
        agreed.client.windowBits = min(agreed.client.windowBits, client.windowBits)
        return agreed
    }

    // MARK: - Server

    /// Accepts an offer (RFC 7692 section 7.1) within these parameters; nil when the offer is malformed, when zlib can't
    /// do it, or when it does not allow what these parameters need.
    func accept(_ offer: [ExtensionParameter]) -> AcceptedDeflate? {
        var agreed = DeflateParameters(client: Direction(takeover: client.takeover), server: server)
        var seen: Set<String> = []
        for parameter in offer {
            guard seen.insert(parameter.name).inserted else { return nil }
            switch (parameter.name, parameter.value) {
            case ("server_no_context_takeover", nil): agreed.server.takeover = false
            case ("client_no_context_takeover", nil): agreed.client.takeover = false
            case ("server_max_window_bits", _?):
                // zlib's deflate has no window of 8 bits.
                guard let bits = try? parameter.windowBits(atMost: 15), bits > 8 else { return nil }
                agreed.server.windowBits = min(server.windowBits, bits)
            case ("client_max_window_bits", nil): agreed.client.windowBits = client.windowBits
            case ("client_max_window_bits", _?):
                guard let bits = try? parameter.windowBits(atMost: 15) else { return nil }
                agreed.client.windowBits = min(client.windowBits, bits)
            default: return nil
            }
        }
        // 7.1.2.2: a client that does not offer the parameter uses the largest window.
        guard agreed.client.windowBits <= client.windowBits else { return nil }
        return AcceptedDeflate(parameters: agreed, repeatsServerWindow: seen.contains("server_max_window_bits"))
    }
}

/// One parameter of an extension, `name` or `name=value`, the value without quotes (RFC 6455 section 9.1).
struct ExtensionParameter: Equatable {
    var name: String
    var value: String?

    func requireNoValue() throws(HandshakeFailure) {
        if let value { throw .invalidResponse("its permessage-deflate parameter \(name) has a value, \(value)") }
    }

    /// RFC 7692 section 7.1.2: a decimal number from 8 to 15 without leading zeros.
    func windowBits(atMost limit: Int) throws(HandshakeFailure) -> Int {
        guard let value, let first = value.utf8.first, first != UInt8(ascii: "0"), first != UInt8(ascii: "+"),
            let bits = Int(value), (8...15).contains(bits)
        else {
            throw .invalidResponse(
                "its permessage-deflate parameter \(name) is \(value ?? "empty"), not a number from 8 to 15")
        }
        guard bits <= limit else {
            throw .invalidResponse(
                "its permessage-deflate parameter \(name) is \(bits), more than the \(limit) that was offered")
        }
        return bits
    }
}
