// Fuzz target: answers of proxies and of servers that refuse. Every cut of an answer must give the same verdict. The
// first byte chooses the parser.

@testable import WebSocketProtocol

/// The state of a tunnel after the proxy's bytes, as text, and what it has sent.
private func tunnel(_ proxy: Proxy, _ input: UnsafeRawBufferPointer, cut: Int) -> String {
    do {
        var tunnel = try Tunnel(proxy, to: "example.com", port: 443, userAgent: "fuzz")
        var count = 0
        for piece in pieces(of: input, cut) {
            count += piece.count
            // The host has not been asked yet, so bytes after the answer are the proxy's mistake.
            if try tunnel.receive(piece) { return count == input.count ? "through" : "it sent more than its answer" }
        }
        return "more \(Array(tunnel.output.bytes))"
    } catch {
        return error.reason
    }
}

/// The text of a refusal that a script gets.
private func refusal(_ input: UnsafeRawBufferPointer, cut: Int) -> String {
    var parser = HTTPHeadParser()
    var body: ResponseBody?
    var words = ""
    do {
        for piece in pieces(of: input, cut) {
            var piece = piece
            if body == nil {
                guard let (head, consumed) = try parser.parse(piece) else { continue }
                piece = UnsafeRawBufferPointer(rebasing: piece[consumed...])
                body = ResponseBody(head, limit: 100)
                words = "\(head.retryAfter ?? -1) \(head.redactedLines)"
            }
            if body?.isComplete == false { body?.receive(piece) }
        }
        return words + (body?.text ?? "")
    } catch {
        return error.reason
    }
}

private func verdict(_ choice: UInt8, _ input: UnsafeRawBufferPointer, cut: Int) -> String {
    switch choice % 4 {
    case 0: tunnel(try! Proxy("http://u:p@proxy"), input, cut: cut)
    case 1: tunnel(try! Proxy("socks5h://u:p@proxy"), input, cut: cut)
    case 2: tunnel(try! Proxy("socks5h://proxy"), input, cut: cut)
    default: refusal(input, cut: cut)
    }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzAnswers(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    guard size > 0 else { return 0 }
    let input = UnsafeRawBufferPointer(start: data + 1, count: size - 1)
    let whole = verdict(data[0], input, cut: max(size, 1))
    precondition(whole == verdict(data[0], input, cut: 7))
    precondition(whole == verdict(data[0], input, cut: 1))
    // The same bytes as environment variables: no trap.
    let text = String(decoding: input, as: UTF8.self)
    let environment = ProxyEnvironment { $0 == "no_proxy" || $0 == "http_proxy" ? Array(text.utf8) : nil }
    for url in ["ws://example.com/", "ws://10.1.2.3:81/", "ws://[::1]/"] {
        _ = try? environment.proxy(for: WebSocketURL(url))
    }
    return 0
}
