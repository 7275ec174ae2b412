import Testing

@testable import WebSocketEngine

@Suite struct TimersTests {
    @Test func expireInOrderAndNotBefore() {
        var timers = Timers()
        var generator = SystemRandomNumberGenerator()
        for deadline in (1...100).shuffled(using: &generator) { timers.add(Nanoseconds(deadline), UInt64(deadline)) }
        #expect(timers.next == 1)
        #expect(timers.expired(0) == nil)
        var tokens: [UInt64] = []
        while let token = timers.expired(60) { tokens.append(token) }
        #expect(tokens == Array(1...60))
        #expect(timers.next == 61)
        while timers.expired(.max) != nil {}
        #expect(timers.next == nil)
    }

    @Test func secondsOfAnySizeAreATime() {
        #expect(Nanoseconds(seconds: 0.25) == 250_000_000)
        #expect(Nanoseconds(seconds: -1) == 0)
        #expect(Nanoseconds(seconds: .nan) == 0 || Nanoseconds(seconds: .nan) > 1 << 60)
        // Added to the clock it must not overflow.
        #expect(Nanoseconds(seconds: .infinity) < UInt64.max / 2)
    }
}
