// Fuzz target: bytes of a peer. No trap, no message above the limit, no TEXT that is not UTF-8. The first byte
// chooses the connection (makeReader).

import CEvents
@testable import WebSocketProtocol

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzFrames(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    guard size > 0 else { return 0 }
    let input = bytes(data, size)
    let reading = read(Array(input[1...]), choice: input[0]) { _ in .max }
    let limit = input[0] & 2 == 0 ? 1 << 16 : 300
    for record in reading.records {
        precondition(record.payload.count <= limit)
        if record.type == WS_EVENT_TEXT { precondition(String(validating: record.payload, as: UTF8.self) != nil) }
    }
    return 0
}
