import Testing

@testable import WebSocketEngine

@Suite struct SpinPolicyTests {
    private let brief = SpinPolicy.limit - 1

    @Test func paysAfterBriefWaitsInARow() {
        var spin = SpinPolicy()
        for _ in 0..<3 {
            spin.slept(brief)
            #expect(!spin.pays)
        }
        spin.slept(SpinPolicy.limit)
        for _ in 0..<3 { spin.slept(brief) }
        #expect(!spin.pays)
        spin.slept(brief)
        #expect(spin.pays)
        for _ in 0..<10 { spin.ended(hit: true) }
        #expect(spin.pays)
    }

    @Test func aServerOnTheSameProcessorIsTriedEverMoreRarely() {
        var spin = SpinPolicy()
        var tries: [Int] = []
        for wait in 0..<10_000 {
            if spin.pays {
                spin.ended(hit: false)
                tries.append(wait)
            }
            spin.slept(brief)
        }
        #expect(Array(tries.prefix(5)) == [4, 12, 28, 60, 124])
        #expect(tries.count < 20)
        // Nor is it given up for ever.
        #expect(tries.last! > 8_000)
    }

    @Test func oneTryInVainIsForgottenAfterHits() {
        var spin = SpinPolicy()
        for _ in 0..<4 { spin.slept(brief) }
        spin.ended(hit: false)
        for _ in 0..<8 { spin.slept(brief) }
        spin.ended(hit: true)
        spin.slept(SpinPolicy.limit)
        for _ in 0..<4 { spin.slept(brief) }
        #expect(spin.pays)
    }

    @Test func silenceIsNeverSpunThroughTwice() {
        var spin = SpinPolicy()
        for _ in 0..<10_000 { spin.slept(brief) }
        #expect(spin.pays)
        spin.ended(hit: false)
        #expect(!spin.pays)
    }
}
