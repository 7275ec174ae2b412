import TestSupport
import Testing

@testable import WebSocketProtocol

@Suite struct TextTests {
    @Test func controlsAreQuestionMarks() {
        let controls = (0...0x1F).map { $0 } + (0x7F...0x9F).map { $0 }
        for control in controls {
            let scalar = Unicode.Scalar(UInt8(control))
            #expect(replacingControlCharacters("a\(scalar)b") == "a?b")
        }
        #expect(replacingControlCharacters("a\r\nb") == "a??b", "each of them, though they are one character")
        #expect(replacingControlCharacters(" ~\u{A0}é日本") == " ~\u{A0}é日本")
    }

    @Test func muchTextIsCut() {
        let text = String(repeating: "é", count: 200)
        #expect(quotedForError(text) == text)
        #expect(quotedForError(text + "x") == text + "…")
        #expect(quotedForError("\u{1B}[2J") == "?[2J")
    }

    /// Regression: an error about a URL of 2 GiB took more than 8 GiB.
    @Test(.enabled(if: canExhaustMemory)) func aLongTextIsCutBeforeItIsCopied() async {
        await #expect(processExitsWith: .success) {
            let text = String(repeating: "é", count: 1 << 20)
            // The first call allocates memory for Swift's runtime.
            _ = quotedForError(text)
            let shown = withoutMemory { quotedForError(text) }
            #expect(shown == String(repeating: "é", count: 200) + "…")
        }
    }
}
