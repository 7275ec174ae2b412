import TestSupport
import Testing

@testable import WebSocketProtocol

@Suite struct TextTests {
    @Test func controlsAreQuestionMarks() {
        let controls = (0...0x1F).map { $0 } + (0x7F...0x9F).map { $0 }
        for control in controls {
            let scalar = Unicode.Scalar(UInt8(control))
            #expect(withoutControls("a\(scalar)b") == "a?b")
        }
        #expect(withoutControls("a\r\nb") == "a??b", "each of them, though they are one character")
        #expect(withoutControls(" ~\u{A0}é日本") == " ~\u{A0}é日本")
    }

    @Test func muchTextIsCut() {
        let text = String(repeating: "é", count: 200)
        #expect(legible(text) == text)
        #expect(legible(text + "x") == text + "…")
        #expect(legible("\u{1B}[2J") == "?[2J")
    }

    /// Regression: an error about a URL of 2 GiB took more than 8 GiB.
    @Test func aLongTextIsCutBeforeItIsCopied() async {
        await #expect(processExitsWith: .success) {
            let text = String(repeating: "é", count: 1 << 20)
            // Swift's runtime takes memory of its own the first time.
            _ = legible(text)
            let shown = withoutMemory { legible(text) }
            #expect(shown == String(repeating: "é", count: 200) + "…")
        }
    }
}
