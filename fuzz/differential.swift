// Fuzz target: every cut of a peer's bytes must give the same event records.
//
// Compression has the full window here. With a smaller window zlib detects a distance that is too long only if the
// bytes it points to have left the output buffer, and that depends on the cut; both verdicts are allowed.

@testable import WebSocketProtocol

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzCuts(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    guard size > 2 else { return 0 }
    let input = bytes(data, size)
    let stream = Array(input[2...])
    let choice = input[0] & 0x8F | 6 << 4
    let whole = read(stream, choice: choice) { _ in .max }
    // A cut that the fuzzer controls, and every byte alone.
    let first = Int(input[1])
    let pieces = read(stream, choice: choice) { offset in offset == 0 ? first : 1 + (offset &* 31 &+ first) % 7 }
    let bytewise = read(stream, choice: choice) { _ in 1 }
    // When many pings come at once only the last must be answered (RFC 6455 5.5.3).
    precondition(
        whole.records == pieces.records && whole.outcome == pieces.outcome && whole.pongs.last == pieces.pongs.last)
    precondition(whole.records == bytewise.records && whole.outcome == bytewise.outcome)
    return 0
}
