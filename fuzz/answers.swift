// What proxies and refusing servers answer, cut anywhere: a verdict, the same for each cut. The first byte
// chooses the reader.

/// A tunnel's end, in words, and what it sent on the way.
private func tunnel(_ proxy: Proxy, _ input: UnsafeRawBufferPointer, cut: Int) -> String {
    do {
        var tunnel = try Tunnel(proxy, to: "example.com", port: 443, userAgent: "fuzz")
        for offset in stride(from: 0, to: input.count, by: cut) {
            let piece = UnsafeRawBufferPointer(rebasing: input[offset..<min(offset + cut, input.count)])
            // What is left of the input would be more than the answer.
            if try tunnel.receive(piece) {
                return offset + cut >= input.count ? "through" : "it sent more than its answer"
            }
        }
        return "more \(Array(tunnel.output.bytes))"
    } catch {
        return error.reason
    }
}

/// A refusal as a script is told it.
private func refusal(_ input: UnsafeRawBufferPointer, cut: Int) -> String {
    var parser = HTTPHeadParser()
    var body: ResponseBody?
    var words = ""
    do {
        for offset in stride(from: 0, to: input.count, by: cut) {
            var piece = UnsafeRawBufferPointer(rebasing: input[offset..<min(offset + cut, input.count)])
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
    // The same bytes as the environment's variables.
    let text = String(decoding: input, as: UTF8.self)
    let environment = ProxyEnvironment { $0 == "no_proxy" || $0 == "http_proxy" ? text : nil }
    for url in ["ws://example.com/", "ws://10.1.2.3:81/", "ws://[::1]/"] {
        _ = try? environment.proxy(for: WebSocketURL(url))
    }
    return 0
}
