// The opening handshake of RFC 6455 section 1.3, unchanged and with lines replaced.

@testable import WebSocketProtocol

enum Sample {
    /// Its Base64 form is the key of section 1.3.
    static let nonce = Array("the sample nonce".utf8)
    static let key = "dGhlIHNhbXBsZSBub25jZQ=="
    static let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    static let response = """
        HTTP/1.1 101 Switching Protocols\r
        Upgrade: websocket\r
        Connection: Upgrade\r
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r
        Sec-WebSocket-Protocol: chat\r
        \r\n
        """

    static func handshake(
        url: String = "ws://server.example.com/chat", headers: [(String, String)] = [], subprotocols: [String] = [],
        deflate: DeflateParameters? = nil
    ) throws -> ClientHandshake {
        ClientHandshake(
            url: try WebSocketURL(url), headers: fields(headers), subprotocols: subprotocols, deflate: deflate,
            nonce: nonce, userAgent: "test/1")
    }

    /// A correct response except for `changes`: new values of fields; nil leaves the field out.
    static func answer(
        _ changes: [String: String?] = [:], status: String = "HTTP/1.1 101 Switching Protocols", more: String = ""
    ) -> String {
        let lines = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)]
            .compactMap { name, value in (changes[name] ?? value).map { "\(name): \($0)\r\n" } }
        return "\(status)\r\n\(lines.joined())\(more)\r\n"
    }

    static func fields(_ list: [(String, String)]) -> HeaderFields {
        var fields = HeaderFields()
        for (name, value) in list { fields.append(name, value) }
        return fields
    }
}
