// Fuzz target: permessage-deflate. The first byte chooses: answers to our offers and deflate streams of a peer must
// give a verdict, the same with pauses and without; or the input is compressed, and inflating must give it back.

@testable import WebSocketProtocol

private let offers = [
    DeflateParameters(),
    DeflateParameters(client: .init(windowBits: 10, takeover: false), server: .init(windowBits: 12, takeover: false)),
]

private func negotiate(_ text: String) {
    guard let extensions = parseExtensions(text) else { return }
    for answer in extensions {
        for limits in offers {
            _ = try? limits.negotiated(from: answer.parameters)
            _ = limits.accept(answer.parameters)
        }
    }
}

/// Inflates a message, pausing after each `pause` bytes. Returns the output, and whether the message was valid.
private func inflate(
    _ input: [UInt8], _ direction: DeflateParameters.Direction, limit: Int, pause: Int = .max
) -> ([UInt8], Bool) {
    var inflater = Inflater(direction, smallThresholds())
    var output = ByteBuffer()
    var result = Inflater.Result.paused
    input.withUnsafeBytes { input in
        var rest = input
        while result == .paused {
            let before = output.count
            result = inflater.inflate(rest, finishes: true, into: &output, limit: limit - before, pause: pause)
            precondition(result != .paused || output.count >= before + pause)
            rest = UnsafeRawBufferPointer(rebasing: input.suffix(inflater.remainingInput))
        }
    }
    precondition(output.count <= limit + 1)
    return (Array(output.bytes), result == .done)
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzDeflate(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    guard size > 0 else { return 0 }
    let choice = data[0]
    let input = Array(bytes(data, size)[1...])
    let direction = DeflateParameters.Direction(windowBits: 9 + Int(choice >> 2) % 7, takeover: choice & 2 != 0)
    switch choice & 1 {
    case 0:
        negotiate("permessage-deflate; " + String(decoding: input, as: UTF8.self))
        // With a full window, as in differential.swift.
        let full = DeflateParameters.Direction(windowBits: 15, takeover: choice & 2 != 0)
        _ = inflate(input, direction, limit: 4096, pause: 50)
        precondition(inflate(input, full, limit: 4096) == inflate(input, full, limit: 4096, pause: 50))
    default:
        guard var deflater = Deflater(direction, level: Int(choice >> 5)) else { return 0 }
        var compressed = ByteBuffer()
        guard input.withUnsafeBytes({ deflater.deflate($0, to: &compressed) }) else { return 0 }
        precondition(inflate(Array(compressed.bytes), direction, limit: input.count) == (input, true))
    }
    return 0
}
