import CUTF8
import Testing

/// ws_utf8_prefix, in every variant that this processor can run.
@Suite struct UTF8PrefixTests {
    private static let sequences: [[UInt8]] = [
        // The first and the last character of each length, and those beside the surrogates.
        [0x00], [0x7F], [0xC2, 0x80], [0xDF, 0xBF], [0xE0, 0xA0, 0x80], [0xED, 0x9F, 0xBF], [0xEE, 0x80, 0x80],
        [0xEF, 0xBF, 0xBF], [0xF0, 0x90, 0x80, 0x80], [0xF4, 0x8F, 0xBF, 0xBF],
        // Incomplete characters.
        [0xC2], [0xE0], [0xE0, 0xA0], [0xED], [0xED, 0x9F], [0xF0], [0xF0, 0x90], [0xF0, 0x90, 0x80], [0xF4],
        [0xF4, 0x8F], [0xF4, 0x8F, 0xBF], [0xE2, 0x28, 0xA1], [0xF0, 0x28, 0x8C, 0xBC], [0xF0, 0x90, 0x28, 0xBC],
        // Continuation bytes without a character.
        [0x80], [0xBF], [0xC2, 0x80, 0x80], [0xE0, 0xA0, 0x80, 0x80], [0xF0, 0x90, 0x80, 0x80, 0x80],
        // Overlong forms, surrogates, values above U+10FFFF, bytes that UTF-8 does not use.
        [0xC0, 0x80], [0xC1, 0xBF], [0xE0, 0x80, 0x80], [0xE0, 0x9F, 0xBF], [0xF0, 0x80, 0x80, 0x80],
        [0xF0, 0x8F, 0xBF, 0xBF], [0xED, 0xA0, 0x80], [0xED, 0xBF, 0xBF], [0xF4, 0x90, 0x80, 0x80],
        [0xF5, 0x80, 0x80, 0x80], [0xF7, 0xBF, 0xBF, 0xBF], [0xF8, 0x88, 0x80, 0x80, 0x80], [0xC0], [0xF5], [0xFF],
    ]

    @Test(arguments: ["a", "é", "€", "😀"])
    func everySequenceAtEveryOffset(filling: String) {
        let character = Array(filling.utf8)
        let after = [[], character + character, (0..<80 / character.count).flatMap { _ in character }]
        for offset in 0...70 {
            let before = text(of: character, count: offset)
            for sequence in Self.sequences {
                for after in after {
                    let rest = sequence + after
                    verify(before + rest, valid: offset + validCount(rest[...]))
                }
            }
        }
    }

    /// Across the edge of a block.
    @Test func everyPairOfBytes() {
        let before = text(of: [0x61], count: 31)
        for first in UInt8.min...UInt8.max {
            for second in UInt8.min...UInt8.max {
                let rest = [first, second] + Array("aaaaaaaa".utf8)
                verify(before + rest, valid: before.count + validCount(rest[...]))
            }
        }
    }

    /// Random texts, cut at their end, then with some bytes changed.
    @Test func randomTexts() {
        var generator = SeededGenerator(seed: 9)
        for _ in 0..<4000 {
            let kind = Int.random(in: 0..<3, using: &generator)
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 0...90, using: &generator) {
                bytes += UTF8.encode(randomScalar(kind, &generator))!
            }
            bytes.removeLast(Int.random(in: 0...min(bytes.count, 4), using: &generator))
            verify(bytes, valid: validCount(bytes[...]))
            for _ in 0..<Int.random(in: 1...2, using: &generator) where !bytes.isEmpty {
                bytes[Int.random(in: bytes.indices, using: &generator)] = UInt8.random(in: 0...0xFF, using: &generator)
            }
            verify(bytes, valid: validCount(bytes[...]))
        }
    }

    @Test func theFirstVariantIsTheOneThatRuns() {
        for count in 0..<200 {
            let bytes = text(of: Array("é".utf8), count: count)
            #expect(ws_utf8_prefix(bytes, count) == variants[0].prefix(bytes, count))
        }
    }

    // MARK: - The expected result

    private let page = GuardedPage()
    private let variants: [ws_utf8_variant] = {
        let first = ws_utf8_variants()!
        return Array(UnsafeBufferPointer(start: first, count: (0...).first { first[$0].name == nil }!))
    }()

    /// The Unicode standard's table 3-7.
    private static let wellFormed: [[ClosedRange<UInt8>]] = [
        [0x00...0x7F],
        [0xC2...0xDF, 0x80...0xBF],
        [0xE0...0xE0, 0xA0...0xBF, 0x80...0xBF],
        [0xE1...0xEC, 0x80...0xBF, 0x80...0xBF],
        [0xED...0xED, 0x80...0x9F, 0x80...0xBF],
        [0xEE...0xEF, 0x80...0xBF, 0x80...0xBF],
        [0xF0...0xF0, 0x90...0xBF, 0x80...0xBF, 0x80...0xBF],
        [0xF1...0xF3, 0x80...0xBF, 0x80...0xBF, 0x80...0xBF],
        [0xF4...0xF4, 0x80...0x8F, 0x80...0xBF, 0x80...0xBF],
    ]

    /// Bytes at the start that are whole characters.
    private func validCount(_ bytes: ArraySlice<UInt8>) -> Int {
        var rest = bytes
        while let first = rest.first {
            guard let ranges = Self.wellFormed.first(where: { $0[0].contains(first) }), ranges.count <= rest.count,
                zip(ranges, rest).allSatisfy({ $0.contains($1) })
            else { break }
            rest = rest.dropFirst(ranges.count)
        }
        return bytes.count - rest.count
    }

    /// Each variant stops between two characters, within the `valid` bytes and near their end, and reads no other
    /// memory.
    private func verify(_ bytes: [UInt8], valid: Int) {
        for variant in variants {
            for place in [page.atStart(bytes), page.atEnd(bytes)] {
                let count = variant.prefix(place.baseAddress!.assumingMemoryBound(to: UInt8.self), place.count)
                let isBoundary = count == valid || count < valid && bytes[count] & 0xC0 != 0x80
                if !isBoundary || count < least(variant, bytes, valid) {
                    Issue.record("\(String(cString: variant.name)): \(count) of \(valid) in \(bytes)")
                }
            }
        }
    }

    /// Lower bound of the bytes that a variant skips: all of a text, unless it is very short; else the blocks before
    /// the error.
    private func least(_ variant: ws_utf8_variant, _ bytes: [UInt8], _ valid: Int) -> Int {
        if String(cString: variant.name) == "portable" { return bytes.prefix { $0 < 0x80 }.count / 8 * 8 }
        let isWhole = valid == bytes.count && valid >= 4 && !(16...18).contains(valid)
        return isWhole ? valid : valid - 67
    }

    // MARK: - Texts

    /// `count` bytes: the character repeated, then ASCII.
    private func text(of character: [UInt8], count: Int) -> [UInt8] {
        let characters = (0..<count / character.count).flatMap { _ in character }
        return characters + [UInt8](repeating: 0x78, count: count % character.count)
    }

    /// - Parameter kind: 0 ASCII, 1 mostly ASCII, 2 characters of all lengths.
    private func randomScalar(_ kind: Int, _ generator: inout SeededGenerator) -> Unicode.Scalar {
        let limits: [UInt32] = [0, 0x80, 0x800, 0x1_0000, 0x11_0000]
        let isASCII = kind == 0 || kind == 1 && Int.random(in: 0..<8, using: &generator) > 0
        let length = isASCII ? 1 : Int.random(in: 1...4, using: &generator)
        while true {
            let value = UInt32.random(in: limits[length - 1]..<limits[length], using: &generator)
            if let scalar = Unicode.Scalar(value) { return scalar }
        }
    }
}
