// The client's side of the opening handshake (RFC 6455 section 4.1): the request, and the checks of the response.
// Pure; used on the loop thread by HandshakeExchange.

import COpenSSL

public struct ClientHandshake: Sendable {
    /// The result of the negotiation.
    public struct Agreement: Equatable, Sendable {
        /// The subprotocol that the server chose; "" without.
        public var subprotocol = ""
        /// `Sec-WebSocket-Extensions` as the server wrote it; "" without.
        public var extensions = ""
        public var deflate: DeflateParameters?
    }

    private let key: String
    private let subprotocols: [String]
    private let deflate: DeflateParameters?
    /// The whole request.
    public let request: String

    /// - Parameters:
    ///   - headers: added to the request. They replace our `User-Agent`, `Host` and `Authorization`, and must not name
    ///     `reserved` fields.
    ///   - nonce: 16 random bytes (section 4.1, point 7).
    public init(
        url: WebSocketURL, headers: HeaderFields, subprotocols: [String], deflate: DeflateParameters?, nonce: [UInt8],
        userAgent: String
    ) {
        key = base64(nonce)
        self.subprotocols = subprotocols
        self.deflate = deflate
        var lines = ["GET \(url.target) HTTP/1.1"]
        func add(_ name: String, _ value: String?) {
            guard let value, headers[name] == nil else { return }
            lines.append("\(name): \(value)")
        }
        add("Host", url.authority)
        lines += [
            "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: \(key)", "Sec-WebSocket-Version: 13",
        ]
        if !subprotocols.isEmpty { lines.append("Sec-WebSocket-Protocol: " + subprotocols.joined(separator: ", ")) }
        if let deflate { lines.append("Sec-WebSocket-Extensions: " + deflate.offer) }
        add("User-Agent", userAgent)
        add("Authorization", url.userInfo.map { "Basic " + base64(Array($0.utf8)) })
        lines += headers.fields.map { "\($0.name): \($0.value)" }
        request = lines.joined(separator: "\r\n") + "\r\n\r\n"
    }

    /// Names, in lower case, of the fields that the handshake itself sets: a script must not.
    public static let reserved: Set<String> = [
        "connection", "upgrade", "sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol",
        "sec-websocket-extensions", "sec-websocket-accept", "content-length", "transfer-encoding",
    ]

    /// Checks the response, point by point of section 4.1 ("the client MUST validate the server's response").
    public func verify(_ head: HTTPHead) throws(HandshakeFailure) -> Agreement {
        guard let status = head.status else { throw .invalidResponse("its answer is not HTTP/1.1") }
        // Point 1.
        guard status == 101 else {
            let phrase = head.reasonPhrase.isEmpty ? "" : " \(quotedForError(head.reasonPhrase))"
            throw HandshakeFailure(
                reason: "it answered \(status)\(phrase) instead of 101 Switching Protocols", status: status)
        }
        guard head.startLine.hasPrefix("HTTP/1.1 ") else { throw .invalidResponse("its answer is not HTTP/1.1") }
        // Point 2.
        let upgrade = head.fields.list("Upgrade")
        guard !upgrade.isEmpty else { throw .invalidResponse("its answer has no Upgrade field") }
        guard upgrade.count == 1, isEqual(upgrade[0], "websocket", ignoringCase: true) else {
            let names = quotedForError(upgrade.joined(separator: ", "))
            throw .invalidResponse("the Upgrade field of its answer is \"\(names)\", not \"websocket\"")
        }
        // Point 3.
        guard head.fields.list("Connection", contains: "upgrade") else {
            throw .invalidResponse("the Connection field of its answer does not name Upgrade")
        }
        // Point 4.
        let accepts = head.fields.values("Sec-WebSocket-Accept")
        guard accepts.count == 1 else {
            throw .invalidResponse(
                "its answer has \(accepts.isEmpty ? "no" : "more than one") Sec-WebSocket-Accept field")
        }
        guard isEqual(accepts[0], acceptance(of: key)) else {
            throw .invalidResponse("the Sec-WebSocket-Accept field of its answer is wrong: it did not read our key")
        }
        var agreement = Agreement()
        try verifyExtensions(head, &agreement)
        try verifySubprotocol(head, &agreement)
        return agreement
    }

    /// Point 5: extensions that were offered only.
    private func verifyExtensions(_ head: HTTPHead, _ agreement: inout Agreement) throws(HandshakeFailure) {
        guard let text = head.fields["Sec-WebSocket-Extensions"] else { return }
        guard let extensions = parseExtensions(text) else {
            throw .invalidResponse(
                "the Sec-WebSocket-Extensions field of its answer is malformed: \"\(quotedForError(text))\"")
        }
        guard !extensions.isEmpty else { return }
        for answer in extensions {
            guard answer.name == DeflateParameters.extensionName, let deflate else {
                throw .invalidResponse("it chose the extension \(answer.name), which was not offered")
            }
            guard agreement.deflate == nil else {
                throw .invalidResponse("it chose the extension \(answer.name) twice")
            }
            agreement.deflate = try deflate.negotiated(from: answer.parameters)
        }
        agreement.extensions = text
    }

    /// Point 6: a subprotocol that was offered only.
    private func verifySubprotocol(_ head: HTTPHead, _ agreement: inout Agreement) throws(HandshakeFailure) {
        let chosen = head.fields.list("Sec-WebSocket-Protocol")
        guard let subprotocol = chosen.first else { return }
        guard chosen.count == 1, subprotocols.contains(where: { isEqual($0, subprotocol) }) else {
            let names = quotedForError(chosen.joined(separator: ", "))
            throw .invalidResponse("it chose the subprotocol \"\(names)\", which was not offered")
        }
        agreement.subprotocol = subprotocol
    }
}

/// The value of `Sec-WebSocket-Accept` for a key (RFC 6455 section 4.2.2, point 5.4).
func acceptance(of key: String) -> String {
    let input = Array((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").utf8)
    var digest = [UInt8](repeating: 0, count: Int(SHA_DIGEST_LENGTH))
    ws_sha1(input, input.count, &digest)
    return base64(digest)
}

/// - Parameter bytes: fewer than 2^31, because OpenSSL takes a 32-bit length. The longest input is user and password
///   of a URL, which has 64 KiB at most.
public func base64(_ bytes: [UInt8]) -> String {
    // EVP_EncodeBlock adds a NUL.
    var text = [UInt8](repeating: 0, count: (bytes.count + 2) / 3 * 4 + 1)
    let count = EVP_EncodeBlock(&text, bytes, Int32(bytes.count))
    return String(decoding: text.prefix(Int(count)), as: UTF8.self)
}
