// Fuzz target: URLs of a script and redirect targets of a server. An accepted URL can stand in a request, and its
// description is a URL that means the same.

@testable import WebSocketProtocol

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzURL(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    let text = String(decoding: bytes(data, size), as: UTF8.self)
    if let url = try? WebSocketURL(text) { check(url) }
    for base in ["wss://u:p@h/a/b?q", "ws+unix:/s.sock:/a/b?q"] {
        let base = try! WebSocketURL(base)
        guard let url = try? base.resolving(text) else { continue }
        check(url)
        precondition(url.socketPath == nil || url.isSameOrigin(as: base))
        precondition(url.userInfo == nil || url.isSameOrigin(as: base))
    }
    return 0
}

private func check(_ url: WebSocketURL) {
    precondition(url.target.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } && url.target.utf8.first == UInt8(ascii: "/"))
    precondition(url.authority.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F })
    precondition((1...65535).contains(url.port))
    guard let again = try? WebSocketURL(url.description) else { preconditionFailure(url.description) }
    precondition(again.target == url.target && again.isSameOrigin(as: url))
}
