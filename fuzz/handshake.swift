// Answers to our handshake, cut anywhere: a verdict, the same for each cut.

private let handshake = ClientHandshake(
    url: try! WebSocketURL("ws://host/"), headers: HeaderFields(), subprotocols: ["chat", "superchat"],
    deflate: DeflateParameters(), nonce: Array("the sample nonce".utf8), userAgent: "fuzz")

/// What is made of an answer: in words, so that it can be compared.
private func verdict(_ input: [UInt8], cut: Int) -> String {
    var parser = HTTPHeadParser()
    var offset = 0
    do {
        while offset < input.count {
            let piece = Array(input[offset..<min(offset + cut, input.count)])
            let parsed = try piece.withUnsafeBytes { try parser.parse($0) }
            if let (head, consumed) = parsed {
                let agreement = try handshake.verify(head)
                return "\(agreement) \(offset + consumed)"
            }
            offset += piece.count
        }
        return "more"
    } catch {
        return (error as? HandshakeFailure)?.reason ?? "?"
    }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzHandshake(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    let input = bytes(data, size)
    let whole = verdict(input, cut: max(size, 1))
    precondition(whole == verdict(input, cut: 7))
    precondition(whole == verdict(input, cut: 1))
    return 0
}
