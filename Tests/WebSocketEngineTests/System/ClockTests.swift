import Testing

@testable import WebSocketEngine

@Suite struct ClockTests {
    @Test func secondsOfAnySizeAreATime() {
        #expect(Nanoseconds(seconds: 0.25) == 250_000_000)
        #expect(Nanoseconds(seconds: -1) == 0)
        #expect(Nanoseconds(seconds: .nan) == 0 || Nanoseconds(seconds: .nan) > 1 << 60)
        // Added to the clock it must not overflow.
        #expect(Nanoseconds(seconds: .infinity) < UInt64.max / 2)
    }

    @Test func theEarlierOfTwoDeadlines() {
        #expect(earlier(nil, nil) == nil)
        #expect(earlier(1, nil) == 1 && earlier(nil, 1) == 1)
        #expect(earlier(1, 2) == 1 && earlier(2, 1) == 1)
    }
}
