// However the bytes of a peer are cut, the events are the same.
//
// With the full window of compression only: that a distance is longer than a smaller window is seen by zlib
// when the text it points to is no longer in the output, which depends on the cut. Either verdict is sound.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzCuts(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    guard size > 2 else { return 0 }
    let input = bytes(data, size)
    let wire = Array(input[2...])
    let choice = input[0] & 0x8F | 6 << 4
    let whole = read(wire, choice: choice) { _ in .max }
    // Two cuts of which the fuzzer knows, and every byte alone.
    let first = Int(input[1])
    let pieces = read(wire, choice: choice) { offset in offset == 0 ? first : 1 + (offset &* 31 &+ first) % 7 }
    let dripped = read(wire, choice: choice) { _ in 1 }
    // Pongs may be forgotten when many pings come at once; the last is always answered.
    precondition(
        whole.records == pieces.records && whole.outcome == pieces.outcome && whole.pongs.last == pieces.pongs.last)
    precondition(whole.records == dripped.records && whole.outcome == dripped.outcome)
    return 0
}
