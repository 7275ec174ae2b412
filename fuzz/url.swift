// URLs of a script: a verdict; what is accepted can stand in a request, and means the same read again.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzURL(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    let text = String(decoding: bytes(data, size), as: UTF8.self)
    guard let url = try? WebSocketURL(text) else { return 0 }
    precondition(url.target.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } && url.target.utf8.first == UInt8(ascii: "/"))
    precondition(url.authority.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F })
    precondition((1...65535).contains(url.port))
    guard let again = try? WebSocketURL(url.description) else { preconditionFailure(url.description) }
    precondition(again.target == url.target && again.host == url.host && again.port == url.port)
    return 0
}
