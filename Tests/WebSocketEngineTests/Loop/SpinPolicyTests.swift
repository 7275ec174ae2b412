import Testing

@testable import WebSocketEngine

@Suite struct SpinPolicyTests {
    private let brief = SpinPolicy.longestSpin - 1

    @Test func paysAfterBriefWaitsInARow() {
        var spin = SpinPolicy()
        for _ in 0..<3 {
            spin.didSleep(for: brief)
            #expect(!spin.shouldSpin)
        }
        spin.didSleep(for: SpinPolicy.longestSpin)
        for _ in 0..<3 { spin.didSleep(for: brief) }
        #expect(!spin.shouldSpin)
        spin.didSleep(for: brief)
        #expect(spin.shouldSpin)
        for _ in 0..<10 { spin.didSpin(foundEvent: true) }
        #expect(spin.shouldSpin)
    }

    @Test func aServerOnTheSameProcessorIsTriedEverMoreRarely() {
        var spin = SpinPolicy()
        var tries: [Int] = []
        for wait in 0..<10_000 {
            if spin.shouldSpin {
                spin.didSpin(foundEvent: false)
                tries.append(wait)
            }
            spin.didSleep(for: brief)
        }
        #expect(Array(tries.prefix(5)) == [4, 12, 28, 60, 124])
        #expect(tries.count < 20)
        // Nor is it given up for ever.
        #expect(tries.last! > 8_000)
    }

    @Test func oneTryInVainIsForgottenAfterHits() {
        var spin = SpinPolicy()
        for _ in 0..<4 { spin.didSleep(for: brief) }
        spin.didSpin(foundEvent: false)
        for _ in 0..<8 { spin.didSleep(for: brief) }
        spin.didSpin(foundEvent: true)
        spin.didSleep(for: SpinPolicy.longestSpin)
        for _ in 0..<4 { spin.didSleep(for: brief) }
        #expect(spin.shouldSpin)
    }

    @Test func silenceIsNeverSpunThroughTwice() {
        var spin = SpinPolicy()
        for _ in 0..<10_000 { spin.didSleep(for: brief) }
        #expect(spin.shouldSpin)
        spin.didSpin(foundEvent: false)
        #expect(!spin.shouldSpin)
    }
}
