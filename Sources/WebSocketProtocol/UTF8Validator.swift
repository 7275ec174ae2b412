// Incremental UTF-8 validation (RFC 3629 section 4): any cut of the input gives the same verdict, and a
// wrong byte fails at once, not at the end of the message (RFC 6455 section 8.1).

import CUTF8

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
        if needed == 0, input.count < 256 {
            // What most messages are, short and ASCII, is seen sooner than a call returns.
            while end - p >= 8, p.loadUnaligned(as: UInt64.self) & 0x8080_8080_8080_8080 == 0 { p += 8 }
            while p < end, p.load(as: UInt8.self) < 0x80 { p += 1 }
        }
        return p == end || validate(p, end)
    }

    /// The same for what is not short and ASCII: passed over many bytes at a time where nothing is wrong, and judged
    /// byte by byte elsewhere. Inlined, it would slow down what is.
    @inline(never)
    private mutating func validate(_ start: UnsafeRawPointer, _ end: UnsafeRawPointer) -> Bool {
        var p = start
        while true {
            if needed == 0, end - p >= 4 { p += ws_utf8_prefix(p.assumingMemoryBound(to: UInt8.self), end - p) }
            if p == end { return true }
            guard take(p.load(as: UInt8.self)) else { return false }
            p += 1
        }
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
