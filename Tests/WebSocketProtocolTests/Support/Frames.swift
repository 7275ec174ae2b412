// Frames and other bytes for the tests, built without the code under test.

@testable import WebSocketProtocol

/// A frame without a mask, as a server sends it. `first` is FIN, the reserved bits and the opcode.
func serverFrame(_ first: UInt8, _ payload: some Collection<UInt8>) -> [UInt8] {
    [first] + lengthField(payload.count, maskBit: 0) + payload
}

func serverFrame(_ first: UInt8, _ payload: String) -> [UInt8] { serverFrame(first, Array(payload.utf8)) }

/// A frame with a mask, as a client sends it.
func clientFrame(_ first: UInt8, _ payload: some Collection<UInt8>, key: [UInt8] = [0x37, 0xFA, 0x21, 0x3D]) -> [UInt8]
{
    [first] + lengthField(payload.count, maskBit: 0x80) + key + masked(Array(payload), key)
}

func clientFrame(_ first: UInt8, _ payload: String) -> [UInt8] { clientFrame(first, Array(payload.utf8)) }

/// RFC 6455 section 5.3, word for word.
func masked(_ payload: [UInt8], _ key: [UInt8]) -> [UInt8] {
    payload.enumerated().map { i, octet in octet ^ key[i % 4] }
}

private func lengthField(_ count: Int, maskBit: UInt8) -> [UInt8] {
    switch count {
    case ...125: [maskBit | UInt8(count)]
    case ...0xFFFF: [maskBit | 126] + bigEndian(UInt64(count), bytes: 2)
    default: [maskBit | 127] + bigEndian(UInt64(count), bytes: 8)
    }
}

func bigEndian(_ value: UInt64, bytes: Int) -> [UInt8] {
    (0..<bytes).reversed().map { UInt8(truncatingIfNeeded: value >> (UInt64($0) * 8)) }
}

/// A Close frame of a server.
func closeFrame(_ code: UInt16, _ reason: String = "") -> [UInt8] {
    serverFrame(0x88, bigEndian(UInt64(code), bytes: 2) + Array(reason.utf8))
}

/// "Hello" in a compressed block, and as a reference to the message before (RFC 7692 section 7.2.3).
let compressedHello: [UInt8] = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]
let repeatedHello: [UInt8] = [0xF2, 0x00, 0x11, 0x00, 0x00]

/// `count` bytes that do not compress.
func noise(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var generator = SeededGenerator(seed: seed)
    return (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
}

/// Pseudorandom numbers, the same in every run (a linear congruential generator with a mixed output).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        let folded = (state ^ state >> 33) &* 0xFF51_AFD7_ED55_8CCD
        return folded ^ folded >> 33
    }
}

extension ByteBuffer {
    init(_ bytes: [UInt8]) {
        self.init()
        append(bytes)
    }

    var array: [UInt8] { Array(bytes) }

    @discardableResult
    mutating func append(_ bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes { append($0) } }
}

extension Deflater {
    mutating func deflated(_ message: [UInt8]) -> [UInt8]? {
        var output = ByteBuffer()
        return message.withUnsafeBytes { deflate($0, to: &output) } ? output.array : nil
    }
}

extension Inflater {
    /// Inflates a whole message; nil when it is malformed.
    mutating func inflated(_ compressed: [UInt8], limit: Int = 1 << 20) -> [UInt8]? {
        var output = ByteBuffer()
        let result = inflate(compressed, finishes: true, into: &output, limit: limit)
        return result == .done ? output.array : nil
    }

    mutating func inflate(
        _ bytes: some Collection<UInt8>, finishes: Bool, into output: inout ByteBuffer, limit: Int
    ) -> Result {
        Array(bytes).withUnsafeBytes { inflate($0, finishes: finishes, into: &output, limit: limit) }
    }
}
