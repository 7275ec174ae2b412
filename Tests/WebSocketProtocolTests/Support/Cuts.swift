// The cuts of an input that the verifiers try.

/// A way to cut an input.
struct Cut {
    let pieces: [ArraySlice<UInt8>]
    let description: String

    /// One byte at a time (a long input in packets), and two pieces (of a short input all).
    static func all(of input: [UInt8]) -> [Cut] {
        let size = input.count < 4096 ? 1 : 997
        let packets = stride(from: 0, to: input.count, by: size).map { input[$0...].prefix(size) }
        let positions =
            input.count < 1000
            ? Array(0...input.count) : Array(0..<20) + stride(from: 20, to: input.count, by: input.count / 16 + 1)
        return [Cut(pieces: packets, description: "in packets of \(size)")]
            + positions.map { Cut(pieces: [input[..<$0], input[$0...]], description: "in two pieces cut at \($0)") }
    }
}
