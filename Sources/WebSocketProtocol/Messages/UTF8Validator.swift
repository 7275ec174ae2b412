// Incremental UTF-8 validation (RFC 3629 section 4). Every cut of the input gives the same verdict, and the first
// byte that can't be UTF-8 fails (RFC 6455 section 8.1). Pure; called on the loop thread for received text, on Lua's
// thread for text to send.

import CUTF8

public struct UTF8Validator: Sendable {
    /// Continuation bytes that the current character still needs.
    private var needed: UInt8 = 0
    /// Bounds of the next continuation byte. They are narrower than 80...BF after E0, ED, F0 and F4.
    private var lower: UInt8 = 0x80
    private var upper: UInt8 = 0xBF

    public init() {}

    /// Whether the input so far ends between two characters.
    public var isComplete: Bool { needed == 0 }

    /// Whether the bytes are a whole text.
    @inline(__always)
    public static func isText(_ input: UnsafeRawBufferPointer) -> Bool {
        input.count < shortCount && isASCII(input) || isLongText(input)
    }

    @inline(never)
    static func isLongText(_ input: UnsafeRawBufferPointer) -> Bool {
        var validator = UTF8Validator()
        return validator.validate(input) && validator.isComplete
    }

    /// Validates the next bytes. Returns false if they can't continue a UTF-8 text.
    public mutating func validate(_ input: UnsafeRawBufferPointer) -> Bool {
        guard let p = input.baseAddress else { return true }
        if needed == 0, input.count < Self.shortCount, Self.isASCII(input) { return true }
        return validate(p, p + input.count)
    }

    /// Shorter input is checked for ASCII in place: most messages are short and ASCII, and this is faster than a call.
    private static let shortCount = 256

    @inline(__always)
    private static func isASCII(_ input: UnsafeRawBufferPointer) -> Bool {
        guard let p = input.baseAddress else { return true }
        var i = 0
        var all: UInt64 = 0
        func word(_ offset: Int) -> UInt64 { p.loadUnaligned(fromByteOffset: offset, as: UInt64.self) }
        while input.count - i >= 32 {
            all |= word(i) | word(i + 8) | word(i + 16) | word(i + 24)
            i += 32
        }
        while input.count - i >= 8 {
            all |= word(i)
            i += 8
        }
        if input.count >= 8 {
            // The last eight bytes; some of them are checked twice.
            all |= word(input.count - 8)
        } else {
            while i < input.count {
                all |= UInt64(p.load(fromByteOffset: i, as: UInt8.self))
                i += 1
            }
        }
        return all & 0x8080_8080_8080_8080 == 0
    }

    /// Validates any input: skips valid characters with vectors, and checks the bytes around an error or a cut one by
    /// one. Not inlined, because that would slow down short ASCII input.
    @inline(never)
    private mutating func validate(_ start: UnsafeRawPointer, _ end: UnsafeRawPointer) -> Bool {
        var p = start
        while true {
            if needed == 0, end - p >= 4 { p += ws_utf8_prefix(p.assumingMemoryBound(to: UInt8.self), end - p) }
            if p == end { return true }
            guard accept(p.load(as: UInt8.self)) else { return false }
            p += 1
        }
    }

    private mutating func accept(_ byte: UInt8) -> Bool {
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
