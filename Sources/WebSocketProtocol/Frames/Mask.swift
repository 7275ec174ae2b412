// Masking (RFC 6455 section 5.3): XOR with a four-byte key that repeats. Pure; used on both threads.

public struct Mask: Equatable, Sendable {
    /// The four bytes; the first one sent is the lowest byte.
    public let key: UInt32

    public init(key: UInt32) { self.key = key }

    /// The key for a payload's bytes from offset `count` on.
    func advanced(by count: Int) -> Mask {
        let bits = UInt32(truncatingIfNeeded: count & 3) * 8
        return bits == 0 ? self : Mask(key: key >> bits | key << (32 - bits))
    }

    /// Writes `source` XOR key to `target`; both may be the same memory.
    func apply(_ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ count: Int) {
        let word = UInt64(littleEndian: UInt64(key) | UInt64(key) << 32)
        let block = SIMD4<UInt64>(repeating: word)
        var i = 0
        while count - i >= 32 {
            let bytes = source.loadUnaligned(fromByteOffset: i, as: SIMD4<UInt64>.self)
            target.storeBytes(of: bytes ^ block, toByteOffset: i, as: SIMD4<UInt64>.self)
            i += 32
        }
        while count - i >= 8 {
            let bytes = source.loadUnaligned(fromByteOffset: i, as: UInt64.self)
            target.storeBytes(of: bytes ^ word, toByteOffset: i, as: UInt64.self)
            i += 8
        }
        var rest = word
        while i < count {
            let byte = source.load(fromByteOffset: i, as: UInt8.self) ^ UInt8(truncatingIfNeeded: rest)
            target.storeBytes(of: byte, toByteOffset: i, as: UInt8.self)
            rest >>= 8
            i += 1
        }
    }
}
