// Answers to our handshake, cut anywhere: a verdict, the same for each cut.

private let handshake = ClientHandshake(
    url: try! WebSocketURL("ws://host/"), headers: HeaderFields(), subprotocols: ["chat", "superchat"],
    deflate: DeflateParameters(), nonce: Array("the sample nonce".utf8), userAgent: "fuzz")

/// What is made of an answer: in words, so that it can be compared.
private func verdict(_ input: UnsafeRawBufferPointer, cut: Int) -> String {
    var parser = HTTPHeadParser()
    do {
        for offset in stride(from: 0, to: input.count, by: cut) {
            let piece = UnsafeRawBufferPointer(rebasing: input[offset..<min(offset + cut, input.count)])
            if let (head, consumed) = try parser.parse(piece) {
                let agreement = try handshake.verify(head)
                return "\(agreement.subprotocol) \(agreement.extensions) \(offset + consumed)"
            }
        }
        return "more"
    } catch {
        return error.reason
    }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzHandshake(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    let input = UnsafeRawBufferPointer(start: data, count: size)
    let whole = verdict(input, cut: max(size, 1))
    precondition(whole == verdict(input, cut: 7))
    precondition(whole == verdict(input, cut: 1))
    return 0
}
