// Fuzz target: requests to a server. The first byte chooses the server's settings and the script's decision. Every cut of
// a request must give the same answer, and our client must be able to read it.

@testable import WebSocketProtocol

private let origins: [OriginPolicy] = [.sameHost, .any, .list(["http://o", "null"]), .list([])]
private let deflates: [DeflateParameters?] = [
    DeflateParameters(), nil,
    DeflateParameters(client: .init(windowBits: 10, takeover: false), server: .init(windowBits: 12, takeover: false)),
]
private let page = try! HTTPResponse(status: 200, body: Array("page".utf8))
private let decisions: [ServerHandshake.Decision] = [
    .proceed, .accept(subprotocol: "chat", headers: HeaderFields()), .forbid, .respond(page),
]

private struct Verdict: Equatable {
    var words: String
    var consumed = 0
    var response: [UInt8] = []
    var agreement: ClientHandshake.Agreement?
}

private func verdict(_ choice: UInt8, _ input: UnsafeRawBufferPointer, cut: Int) -> Verdict {
    let handshake = ServerHandshake(
        origins: origins[Int(choice) % 4], subprotocols: ["superchat", "chat"], deflate: deflates[Int(choice >> 2) % 3])
    var reader = HTTPRequestReader()
    var before = 0
    for piece in pieces(of: input, cut) {
        do throws(RequestRefusal) {
            if let (request, consumed) = try reader.read(piece) {
                return try answer(request, before + consumed, handshake, decisions[Int(choice >> 6)])
            }
        } catch {
            return verdict(error.response, words: error.reason, method: nil)
        }
        before += piece.count
    }
    return Verdict(words: "more")
}

private func answer(
    _ request: HTTPRequest, _ consumed: Int, _ handshake: ServerHandshake, _ decision: ServerHandshake.Decision
) throws(RequestRefusal) -> Verdict {
    precondition(request.target.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F })
    let words = "\(request.url(isSecure: true)) \(request.head.redactedLines) \(request.subprotocols)"
    let demand = try handshake.examine(request)
    let answer: ServerHandshake.Answer
    do throws(AnswerFailure) { answer = try handshake.answer(demand, decision) } catch { throw .noAnswer }
    switch answer {
    case .response(let response): return verdict(response, words: words, method: request.method)
    case .open(let head, let agreement):
        return Verdict(words: words, consumed: consumed, response: Array(head.text.utf8), agreement: agreement)
    }
}

private func verdict(_ response: HTTPResponse, words: String, method: String?) -> Verdict {
    var output = ByteBuffer()
    precondition(response.append(to: &output, method: method))
    return Verdict(words: words, response: Array(output.bytes))
}

/// The response is HTTP/1.1 for our own parser, with all of its body and no byte more.
private func check(_ verdict: Verdict) {
    verdict.response.withUnsafeBytes { response in
        var parser = HTTPHeadParser()
        guard let (head, consumed) = try? parser.parse(response) else { preconditionFailure("no head") }
        precondition(
            head.status == 101 ? verdict.agreement != nil : (400...505).contains(head.status!) || head.status == 200)
        if head.status == 101 { return precondition(consumed == response.count) }
        var body = ResponseBody(head, limit: 4096)
        body.receive(UnsafeRawBufferPointer(rebasing: response[consumed...]))
        precondition(body.isComplete || consumed == response.count)
        precondition(head.fields["Content-Length"] == "\(response.count - consumed)" || consumed == response.count)
    }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzRequests(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    guard size > 0 else { return 0 }
    let input = UnsafeRawBufferPointer(start: data + 1, count: size - 1)
    let whole = verdict(data[0], input, cut: max(size, 1))
    precondition(whole == verdict(data[0], input, cut: 7))
    precondition(whole == verdict(data[0], input, cut: 1))
    if !whole.response.isEmpty { check(whole) }
    return 0
}
