// Incremental UTF-8 validation (RFC 3629 section 4): any cut of the input gives the same verdict, and a
// wrong byte fails at once, not at the end of the message (RFC 6455 section 8.1).

public struct UTF8Validator: Sendable {
    /// Continuation bytes that the current character still needs.
    private var needed: UInt8 = 0
    /// What the next continuation byte may be: narrower than 80...BF after E0, ED, F0 and F4.
    private var lower: UInt8 = 0x80
    private var upper: UInt8 = 0xBF

    public init() {}

    /// Whether the input so far ends between two characters.
    public var isComplete: Bool { needed == 0 }

    /// False when the bytes, after those seen before, can't be the beginning of any UTF-8 text.
    public mutating func validate(_ input: UnsafeRawBufferPointer) -> Bool {
        guard var p = input.baseAddress else { return true }
        let end = p + input.count
        while needed > 0 {
            if p == end { return true }
            guard take(p.load(as: UInt8.self)) else { return false }
            p += 1
        }
        while p < end {
            let byte = p.load(as: UInt8.self)
            if byte < 0x80 {
                p = skipASCII(p, end)
                continue
            }
            guard end - p >= 4 else {
                guard take(byte) else { return false }
                p += 1
                while needed > 0, p < end {
                    guard take(p.load(as: UInt8.self)) else { return false }
                    p += 1
                }
                continue
            }
            guard let length = characterLength(p) else { return false }
            p += length
        }
        return true
    }

    /// Past the ASCII bytes from `p`, 32 at a time.
    @inline(__always)
    private func skipASCII(_ start: UnsafeRawPointer, _ end: UnsafeRawPointer) -> UnsafeRawPointer {
        var p = start
        while end - p >= 32 {
            let block = p.loadUnaligned(as: SIMD4<UInt64>.self) & SIMD4(repeating: 0x8080_8080_8080_8080)
            if block != SIMD4(repeating: 0) { break }
            p += 32
        }
        while end - p >= 8, p.loadUnaligned(as: UInt64.self) & 0x8080_8080_8080_8080 == 0 { p += 8 }
        while p < end, p.load(as: UInt8.self) < 0x80 { p += 1 }
        return p
    }

    /// The length of the multi-byte character at `p`, where at least four bytes can be read; nil if it is none.
    @inline(__always)
    private func characterLength(_ p: UnsafeRawPointer) -> Int? {
        let word = UInt32(littleEndian: p.loadUnaligned(as: UInt32.self))
        if word & 0xC0E0 == 0x80C0 {
            return word & 0x1E != 0 ? 2 : nil  // C0 and C1 would be overlong
        }
        if word & 0xC0C0F0 == 0x8080E0 {
            let scalar = (word & 0xF) << 12 | (word >> 8 & 0x3F) << 6 | (word >> 16 & 0x3F)
            return scalar >= 0x800 && !(0xD800...0xDFFF).contains(scalar) ? 3 : nil
        }
        if word & 0xC0C0_C0F8 == 0x8080_80F0 {
            let scalar = (word & 0x7) << 18 | (word >> 8 & 0x3F) << 12 | (word >> 16 & 0x3F) << 6
            return (0x10000...0x10FFFF).contains(scalar) ? 4 : nil
        }
        return nil
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        if needed > 0 {
            guard byte >= lower, byte <= upper else { return false }
            needed -= 1
            (lower, upper) = (0x80, 0xBF)
            return true
        }
        switch byte {
        case 0x00...0x7F: break
        case 0xC2...0xDF: needed = 1
        case 0xE0: (needed, lower) = (2, 0xA0)
        case 0xED: (needed, upper) = (2, 0x9F)
        case 0xE1...0xEF: needed = 2
        case 0xF0: (needed, lower) = (3, 0x90)
        case 0xF4: (needed, upper) = (3, 0x8F)
        case 0xF1...0xF3: needed = 3
        default: return false
        }
        return true
    }
}
