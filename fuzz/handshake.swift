// Fuzz target: answers to our opening handshake. Every cut of an answer must give the same verdict.

@testable import WebSocketProtocol

private let handshake = ClientHandshake(
    url: try! WebSocketURL("ws://host/"), headers: HeaderFields(), subprotocols: ["chat", "superchat"],
    deflate: DeflateParameters(), nonce: Array("the sample nonce".utf8), userAgent: "fuzz")

/// The result of the handshake as text.
private func verdict(_ input: UnsafeRawBufferPointer, cut: Int) -> String {
    var parser = HTTPHeadParser()
    var before = 0
    do {
        for piece in pieces(of: input, cut) {
            if let (head, consumed) = try parser.parse(piece) {
                let agreement = try handshake.verify(head)
                return "\(agreement.subprotocol) \(agreement.extensions) \(before + consumed)"
            }
            before += piece.count
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
