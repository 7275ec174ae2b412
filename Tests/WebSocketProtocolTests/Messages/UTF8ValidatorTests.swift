import Testing

@testable import WebSocketProtocol

@Suite struct UTF8ValidatorTests {
    @Test(arguments: [
        "", "a", "\u{0}", "\u{7F}", "\u{80}", "\u{7FF}", "\u{800}", "\u{FFF}", "\u{1000}", "\u{D7FF}", "\u{E000}",
        "\u{FFFD}", "\u{FFFF}", "\u{10000}", "\u{3FFFF}", "\u{FFFFF}", "\u{10FFFF}", "κόσμε", "👩‍👩‍👧",
    ])
    func text(text: String) {
        verify(Array(text.utf8))
        #expect(verdict(Array(text.utf8)) == .valid)
    }

    @Test(
        arguments: [
            // Continuation bytes without a character; bytes that UTF-8 does not use.
            [0x80], [0xBF], [0xC0], [0xC1], [0xF5], [0xF8], [0xFC], [0xFE], [0xFF],
            // Overlong forms of two, three and four bytes.
            [0xC0, 0x80], [0xC0, 0xAF], [0xC1, 0xBF], [0xE0, 0x80, 0x80], [0xE0, 0x9F, 0xBF], [0xF0, 0x80, 0x80, 0x80],
            [0xF0, 0x8F, 0xBF, 0xBF],
            // Surrogates.
            [0xED, 0xA0, 0x80], [0xED, 0xAF, 0xBF], [0xED, 0xB0, 0x80], [0xED, 0xBF, 0xBF],
            // More than U+10FFFF.
            [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xF7, 0xBF, 0xBF, 0xBF],
            // A continuation byte is missing.
            [0xC3, 0x28], [0xE2, 0x28, 0xA1], [0xE2, 0x82, 0x28], [0xF0, 0x28, 0x8C, 0xBC], [0xF0, 0x90, 0x28, 0xBC],
            [0xF0, 0x9F, 0x98, 0x28], [0xF0, 0x9F, 0x98, 0xC3],
        ] as [[UInt8]])
    func notText(bytes: [UInt8]) {
        #expect(verdict(bytes) == .invalid)
        verify(bytes)
        // Also within text, where the vectors are used.
        let long = [String(repeating: "x", count: 300), String(repeating: "é", count: 50)]
        for before in ["", "a", "é", "12345678"] + long {
            for after in ["", "a", "abcdef", "éé"] + long {
                #expect(verdict(Array(before.utf8) + bytes + Array(after.utf8)) == .invalid)
            }
        }
    }

    @Test(arguments: [[0xC3], [0xE2], [0xE2, 0x82], [0xF0], [0xF0, 0x9F], [0xF0, 0x9F, 0x98]] as [[UInt8]])
    func cutInTheMiddle(bytes: [UInt8]) {
        #expect(verdict(bytes) == .incomplete)
        #expect(verdict(Array("abcdefgh".utf8) + bytes) == .incomplete)
        #expect(verdict(Array("€😀".utf8) + bytes) == .incomplete)
        #expect(verdict(Array(String(repeating: "€😀", count: 20).utf8) + bytes) == .incomplete)
    }

    @Test func everySequenceOfOneByte() {
        for byte in UInt8.min...UInt8.max { verify([byte]) }
    }

    @Test func everySequenceOfTwoBytes() {
        for first in UInt8.min...UInt8.max {
            for second in UInt8.min...UInt8.max {
                // After ASCII the cuts of the second byte alone are enough.
                if first < 0x80 { expectSameAsOracle([first, second]) } else { verify([first, second]) }
            }
        }
    }

    @Test func everySequenceOfThreeAndFourBytesAtTheBorders() {
        let seconds: [UInt8] = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF]
        let others: [UInt8] = [0x7F, 0x80, 0xBF, 0xC0]
        for first in 0xC0...UInt8.max {
            for second in seconds {
                for third in others {
                    expectSameAsOracle([first, second, third])
                    for fourth in others { expectSameAsOracle([first, second, third, fourth]) }
                }
            }
        }
    }

    @Test func everyCharacterOfThreeAndFourBytes() {
        var validator = UTF8Validator()
        var text: [UInt8] = []
        for value in stride(from: 0x800 as UInt32, through: 0x10FFFF, by: 7) {
            guard let scalar = Unicode.Scalar(value) else { continue }
            text += UTF8.encode(scalar)!
        }
        let valid = text.withUnsafeBytes { validator.validate($0) }
        #expect(valid)
        #expect(validator.isComplete)
    }

    /// Random texts, most of them with one byte changed, in every cut.
    @Test func randomTextsInEveryCut() {
        var generator = SeededGenerator(seed: 8)
        let characters = ["a", "z", "é", "߿", "ࠀ", "€", "\u{D7FF}", "\u{E000}", "\u{10000}", "😀", "\u{10FFFF}"]
        for round in 0..<400 {
            let count = Int.random(in: 0...(round % 8 == 0 ? 30 : 8), using: &generator)
            var bytes = (0..<count).flatMap { _ in
                round % 5 == 0 && Bool.random(using: &generator)
                    ? Array("0123456789abcdefghijklmnopqrstuvwxyz".utf8)
                    : Array(characters.randomElement(using: &generator)!.utf8)
            }
            if !bytes.isEmpty, round % 4 != 0 {
                bytes[Int.random(in: bytes.indices, using: &generator)] = UInt8.random(
                    in: 0x70...0xFF, using: &generator)
            }
            if round % 3 == 0 { bytes.removeLast(min(bytes.count, 1)) }
            verify(bytes)
        }
    }

    @Test func nothingIsText() {
        var validator = UTF8Validator()
        let valid = validator.validate(UnsafeRawBufferPointer(start: nil, count: 0))
        #expect(valid)
        #expect(validator.isComplete)
    }

    @Test func failsAtTheFirstBadByte() {
        for bad in [[0xE0, 0x80], [0xED, 0xA0], [0xF0, 0x80], [0xF4, 0x90], [0xC3, 0x28], [0xFF]] as [[UInt8]] {
            var validator = UTF8Validator()
            let text = Array("abc".utf8) + bad.dropLast()
            let before = text.withUnsafeBytes { validator.validate($0) }
            let at = [bad.last!].withUnsafeBytes { validator.validate($0) }
            #expect(before)
            #expect(!at)
        }
    }

    // MARK: - The oracle

    private enum Verdict { case valid, incomplete, invalid }

    private func verdict(_ bytes: [UInt8]) -> Verdict {
        let verdict = verdict([bytes[...]])
        if bytes.withUnsafeBytes(UTF8Validator.isText) != (verdict == .valid) {
            Issue.record("\(bytes) is \(verdict), and isText says otherwise")
        }
        return verdict
    }

    private func verdict(_ pieces: [ArraySlice<UInt8>]) -> Verdict {
        var validator = UTF8Validator()
        for piece in pieces {
            guard piece.withUnsafeBytes({ validator.validate($0) }) else { return .invalid }
        }
        return validator.isComplete ? .valid : .incomplete
    }

    /// The verdict of the standard library. Bytes are incomplete if some continuation makes them text.
    private func oracle(_ bytes: [UInt8]) -> Verdict {
        if String(validating: bytes, as: UTF8.self) != nil { return .valid }
        let ends: [[UInt8]] = [
            [0x80], [0xA0], [0x80, 0x80], [0xA0, 0x80], [0x90, 0x80], [0x80, 0x80, 0x80], [0x90, 0x80, 0x80],
        ]
        return ends.contains { String(validating: bytes + $0, as: UTF8.self) != nil } ? .incomplete : .invalid
    }

    private func expectSameAsOracle(_ bytes: [UInt8]) {
        let verdict = verdict(bytes)
        if verdict != oracle(bytes) { Issue.record("\(bytes) is \(verdict)") }
    }

    /// The oracle's verdict in every cut.
    private func verify(_ bytes: [UInt8]) {
        let expected = oracle(bytes)
        for cut in 0...bytes.count where verdict([bytes[..<cut], bytes[cut...]]) != expected {
            Issue.record("\(bytes) cut at \(cut) is not \(expected)")
        }
        if verdict(bytes.indices.map { bytes[$0...$0] }) != expected {
            Issue.record("\(bytes) byte by byte is not \(expected)")
        }
    }
}
