// The server's side of the opening handshake (RFC 6455 section 4.2): what a request asks for, and the response to it.
// The script decides in between. Pure; `examine` and `answer` are called on the loop thread.
//
//     bytes ── HTTPRequestReader.read ──> HTTPRequest ── examine ──> Demand ── answer(Decision) ──> Answer
//                       │                                   │
//                       └───────── RequestRefusal ──────────┘

public struct ServerHandshake: Equatable, Sendable {
    public typealias Agreement = ClientHandshake.Agreement

    /// What a request asks for.
    public enum Demand: Equatable, Sendable {
        case webSocket(Offer)
        /// Something else, perhaps a page: refused unless the script has a response.
        case other(RequestRefusal)
    }

    /// A correct request for a WebSocket connection.
    public struct Offer: Equatable, Sendable {
        fileprivate let key: String
        /// Tokens; the client's favourite first.
        public let subprotocols: [String]
        fileprivate let deflate: AcceptedDeflate?
    }

    /// The script's part.
    public enum Decision: Equatable, Sendable {
        /// The script has nothing to say.
        case proceed
        /// 403.
        case forbid
        /// 101 with this subprotocol, or by default the usual choice, and with more headers.
        case accept(subprotocol: String?, headers: HeaderFields)
        case respond(HTTPResponse)
    }

    public enum Answer: Equatable, Sendable {
        /// 101: once `HTTPHead.text` is written, frames follow.
        case open(HTTPHead, Agreement)
        /// The connection ends with it.
        case response(HTTPResponse)
    }

    private let origins: OriginPolicy
    private let subprotocols: [String]
    private let deflate: DeflateParameters?
    private let headers: HeaderFields

    /// - Parameters:
    ///   - subprotocols: tokens; the server's favourite first.
    ///   - deflate: the most that is agreed to; nil: no compression.
    ///   - headers: for each response with 101, after `checkForAnswer`.
    public init(
        origins: OriginPolicy = .sameHost, subprotocols: [String] = [], deflate: DeflateParameters? = nil,
        headers: HeaderFields = HeaderFields()
    ) {
        self.origins = origins
        self.subprotocols = subprotocols
        self.deflate = deflate
        self.headers = headers
    }

    // MARK: - The request

    /// Checks a request for a WebSocket connection, point by point of section 4.2.1.
    public func examine(_ request: HTTPRequest) throws(RequestRefusal) -> Demand {
        // RFC 9110 section 7.8: Upgrade is ignored in a request of HTTP/1.0.
        guard request.line.version == .http11 else {
            let reason = "the request is HTTP/1.0, and a WebSocket needs HTTP/1.1, also from a proxy on the way"
            return .other(RequestRefusal(status: 505, reason))
        }
        guard request.fields.list("Upgrade", contains: "websocket") else {
            let reason =
                request.fields["Sec-WebSocket-Key"] == nil
                ? "this is a WebSocket server, and the request asks for no WebSocket"
                : "the request has Sec-WebSocket-Key but not Upgrade: websocket, which a proxy may have removed"
            return .other(.upgradeRequired(reason))
        }
        // Point 1.
        guard request.method == "GET" else { throw .badRequest("the request for a WebSocket is not a GET") }
        guard !request.hasBody else { throw .badRequest("the request for a WebSocket has a body") }
        // Point 4.
        guard request.fields.list("Connection", contains: "upgrade") else {
            throw .badRequest("the Connection field of the request does not name Upgrade")
        }
        try checkVersion(request.fields)
        let key = try key(request.fields)
        try checkOrigin(request)
        return .webSocket(
            Offer(key: key, subprotocols: try offered(request), deflate: try acceptedDeflate(request.fields)))
    }

    /// Point 6, and section 4.4 for other versions.
    private func checkVersion(_ fields: HeaderFields) throws(RequestRefusal) {
        let versions = fields.values("Sec-WebSocket-Version")
        guard versions.count <= 1 else {
            throw .badRequest("the request has more than one Sec-WebSocket-Version field")
        }
        guard versions.first == "13" else {
            throw .upgradeRequired("the Sec-WebSocket-Version of the request is not 13")
        }
    }

    /// Point 5: 16 bytes in Base64. Their value does not matter, so neither do the bits that Base64 has left over.
    private func key(_ fields: HeaderFields) throws(RequestRefusal) -> String {
        let keys = fields.values("Sec-WebSocket-Key")
        guard keys.count == 1 else {
            throw .badRequest("the request has \(keys.isEmpty ? "no" : "more than one") Sec-WebSocket-Key field")
        }
        guard keys[0].utf8.count == 24, keys[0].utf8.prefix(22).allSatisfy(isBase64), keys[0].hasSuffix("==") else {
            throw .badRequest("the Sec-WebSocket-Key of the request is not 16 bytes in Base64")
        }
        return keys[0]
    }

    /// Point 7.
    private func checkOrigin(_ request: HTTPRequest) throws(RequestRefusal) {
        guard request.fields.values("Origin").count <= 1 else {
            throw .badRequest("the request has more than one Origin field")
        }
        guard origins.allows(request.origin, for: request.authority) else {
            let origin = quotedForError(request.origin ?? "")
            throw RequestRefusal(status: 403, "websites of the origin \"\(origin)\" may not connect to this server")
        }
    }

    /// Point 8.
    private func offered(_ request: HTTPRequest) throws(RequestRefusal) -> [String] {
        let subprotocols = request.subprotocols
        // The name may be a secret, so it is not shown.
        guard subprotocols.allSatisfy({ isToken($0) }) else {
            throw .badRequest("the Sec-WebSocket-Protocol field of the request is malformed")
        }
        return subprotocols
    }

    /// Point 9: the first offer of permessage-deflate that can be accepted (RFC 7692 section 5). Other extensions are
    /// unknown here, and are ignored.
    private func acceptedDeflate(_ fields: HeaderFields) throws(RequestRefusal) -> AcceptedDeflate? {
        guard let offers = parseExtensions(fields["Sec-WebSocket-Extensions"] ?? "") else {
            // Section 9.1.
            throw .badRequest("the Sec-WebSocket-Extensions field of the request is malformed")
        }
        guard let deflate else { return nil }
        for offer in offers where offer.name == DeflateParameters.extensionName {
            if let accepted = deflate.accept(offer.parameters) { return accepted }
        }
        return nil
    }

    // MARK: - The response

    /// The response that follows from the script's decision. After a failure it is `RequestRefusal.noAnswer`.
    public func answer(_ demand: Demand, _ decision: Decision) throws(AnswerFailure) -> Answer {
        switch (demand, decision) {
        case (_, .respond(let response)): return .response(response)
        case (_, .forbid):
            return .response(RequestRefusal(status: 403, "this server does not accept the request").response)
        case (.other(let refusal), .proceed): return .response(refusal.response)
        case (.other, .accept): throw AnswerFailure("it accepts a request that asks for no WebSocket")
        case (.webSocket(let offer), .proceed): return open(offer, subprotocol: nil, HeaderFields())
        case (.webSocket(let offer), .accept(let subprotocol, let headers)):
            if let subprotocol, !offer.subprotocols.contains(where: { isEqual($0, subprotocol) }) {
                let name = quotedForError(subprotocol)
                throw AnswerFailure("it chooses the subprotocol '\(name)', which the client does not offer")
            }
            try headers.checkForAnswer()
            return open(offer, subprotocol: subprotocol, headers)
        }
    }

    /// Section 4.2.2, point 5.
    private func open(_ offer: Offer, subprotocol: String?, _ more: HeaderFields) -> Answer {
        var head = HTTPHead()
        head.startLine = "HTTP/1.1 101 Switching Protocols"
        head.fields.append("Upgrade", "websocket")
        head.fields.append("Connection", "Upgrade")
        head.fields.append("Sec-WebSocket-Accept", acceptance(of: offer.key))
        var agreement = Agreement()
        let favourite = subprotocols.first { ours in offer.subprotocols.contains { isEqual($0, ours) } }
        if let chosen = subprotocol ?? favourite {
            agreement.subprotocol = chosen
            head.fields.append("Sec-WebSocket-Protocol", chosen)
        }
        if let deflate = offer.deflate {
            agreement.extensions = deflate.answer
            agreement.deflate = deflate.parameters
            head.fields.append("Sec-WebSocket-Extensions", deflate.answer)
        }
        for (name, value) in headers.fields + more.fields { head.fields.append(name, value) }
        return .open(head, agreement)
    }
}

/// Whether a byte stands for 6 bits in Base64 (RFC 4648 section 4).
private func isBase64(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
    default: isDigit(byte) || byte == UInt8(ascii: "+") || byte == UInt8(ascii: "/")
    }
}
