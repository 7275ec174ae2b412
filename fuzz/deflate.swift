// Compression: answers to our offer, streams of a peer, and what we compress ourselves comes back.

private let offers = [
    DeflateParameters(),
    DeflateParameters(client: .init(windowBits: 10, takeover: false), server: .init(windowBits: 12, takeover: false)),
]

private func negotiate(_ text: String) {
    guard let extensions = parseExtensions(text) else { return }
    for answer in extensions {
        for offer in offers { _ = try? offer.agreed(on: answer.parameters) }
        _ = DeflateParameters.accepting(answer.parameters)
    }
}

private func inflate(_ input: [UInt8], _ direction: DeflateParameters.Direction, limit: Int) -> ([UInt8], Bool) {
    var inflater = Inflater(direction)
    var output = ByteBuffer()
    let result = input.withUnsafeBytes { inflater.inflate($0, finishes: true, into: &output, limit: limit) }
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
        _ = inflate(input, direction, limit: 4096)
    default:
        guard var deflater = Deflater(direction, level: Int(choice >> 5)) else { return 0 }
        var compressed = ByteBuffer()
        guard input.withUnsafeBytes({ deflater.deflate($0, to: &compressed) }) else { return 0 }
        precondition(inflate(Array(compressed.bytes), direction, limit: input.count) == (input, true))
    }
    return 0
}
