// The server's side of the opening handshake (RFC 6455 section 4.2): the request in, the response out. Pure; used by
// the echo server and the tests only.

public enum ServerHandshake {
    /// The response to a request: 101 with an agreement, or a refusal without.
    public static func answer(
        _ head: HTTPHead, subprotocols: [String] = [], deflate: Bool = true
    ) -> (response: String, agreement: ClientHandshake.Agreement?) {
        let fields = head.fields
        func refuse(_ status: String, _ more: String = "") -> (String, ClientHandshake.Agreement?) {
            ("HTTP/1.1 \(status)\r\nConnection: close\r\nContent-Length: 0\r\n\(more)\r\n", nil)
        }
        guard head.startLine.hasPrefix("GET "), head.startLine.hasSuffix(" HTTP/1.1"), fields["Host"] != nil else {
            return refuse("400 Bad Request")
        }
        guard fields.list("Upgrade", contains: "websocket"), fields.list("Connection", contains: "upgrade"),
            let key = fields["Sec-WebSocket-Key"], key.utf8.count == 24
        else { return refuse("426 Upgrade Required", "Upgrade: websocket\r\n") }
        // 4.4: the supported version.
        guard fields["Sec-WebSocket-Version"] == "13" else {
            return refuse("426 Upgrade Required", "Sec-WebSocket-Version: 13\r\n")
        }
        var agreement = ClientHandshake.Agreement()
        var response = """
            HTTP/1.1 101 Switching Protocols\r
            Upgrade: websocket\r
            Connection: Upgrade\r
            Sec-WebSocket-Accept: \(acceptance(of: key))\r\n
            """
        if let chosen = fields.list("Sec-WebSocket-Protocol").first(where: subprotocols.contains) {
            agreement.subprotocol = chosen
            response += "Sec-WebSocket-Protocol: \(chosen)\r\n"
        }
        let offers = fields["Sec-WebSocket-Extensions"].flatMap(parseExtensions) ?? []
        for offer in offers where deflate && offer.name == DeflateParameters.extensionName {
            guard let accepted = DeflateParameters.answer(to: offer.parameters) else { continue }
            agreement.deflate = accepted.parameters
            agreement.extensions = accepted.answer
            response += "Sec-WebSocket-Extensions: \(accepted.answer)\r\n"
            break
        }
        return (response + "\r\n", agreement)
    }
}
