import Testing

@testable import WebSocketEngine

/// Without spread: the middle of the random numbers.
private let middle = UInt32.max / 2

@Suite struct BackoffTests {
    private func waits(_ backoff: Backoff, _ count: Int, random: UInt32 = middle) -> [Double] {
        var backoff = backoff
        return (0..<count).map { _ in (backoff.delayAfterFailure(random: random) * 1000).rounded() / 1000 }
    }

    @Test func doublesFromATenthToTheMaximum() {
        let backoff = Backoff(minimum: 0, maximum: 10)
        #expect(waits(backoff, 9) == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 8.75, 8.75])
    }

    @Test func spreadsByAQuarterEitherWay() {
        let backoff = Backoff(minimum: 0, maximum: 10)
        #expect(waits(backoff, 3, random: 0) == [0.075, 0.15, 0.3])
        #expect(waits(backoff, 3, random: .max) == [0.125, 0.25, 0.5])
    }

    @Test func spreadStaysWithinTheBounds() {
        #expect(waits(Backoff(minimum: 0.1, maximum: 0.1), 3, random: 0) == [0.1, 0.1, 0.1])
        #expect(waits(Backoff(minimum: 0, maximum: 0.1), 3, random: .max) == [0.1, 0.1, 0.1])
    }

    @Test func noWaitIsLikelierThanAnotherAtTheBounds() {
        // Clients that failed together would come back together.
        var maximum = Backoff(minimum: 0, maximum: 10)
        for _ in 0..<7 { _ = maximum.delayAfterFailure(random: middle) }
        let waits = stride(from: UInt32(0), through: .max - 3, by: 1 << 28).map {
            maximum.delayAfterFailure(random: $0)
        }
        #expect(Set(waits).count == 16 && waits == waits.sorted())
        #expect(waits[0] == 7.5 && waits[15] < 10)
        var minimum = Backoff(minimum: 5, maximum: 10)
        #expect(minimum.delayAfterFailure(random: 0) == 5)
        for _ in 0..<5 { _ = minimum.delayAfterFailure(random: middle) }
        // 6.4 s: the bounds leave 5 to 8 s of it.
        let spread = [UInt32(0), .max].map { random in
            var backoff = minimum
            return (backoff.delayAfterFailure(random: random) * 1000).rounded() / 1000
        }
        #expect(spread == [5, 8])
    }

    @Test func minimumWinsOverASmallerMaximum() {
        #expect(waits(Backoff(minimum: 20, maximum: 10), 2) == [20, 20])
    }

    @Test func maximumOfZeroIsNoTightLoop() {
        #expect(waits(Backoff(minimum: 0, maximum: 0), 3) == [0.01, 0.01, 0.01])
    }

    @Test func doublingNeverOverflows() {
        var backoff = Backoff(minimum: 0, maximum: 3)
        for _ in 0..<200 { _ = backoff.delayAfterFailure(random: middle) }
        #expect(backoff.delayAfterFailure(random: .max) == 3)
    }

    @Test func infiniteBoundsAreNumbers() {
        for random in [0, middle, UInt32.max] {
            var never = Backoff(minimum: .infinity, maximum: 10)
            #expect(never.delayAfterFailure(random: random) == .infinity)
            #expect(never.delayAfterConnection(lasted: 3600, random: random) == .infinity)
            #expect(
                waits(Backoff(minimum: .infinity, maximum: .infinity), 2, random: random) == [.infinity, .infinity])
            #expect(waits(Backoff(minimum: 7, maximum: 7), 2, random: random) == [7, 7])
            var endless = Backoff(minimum: 0, maximum: .infinity)
            for _ in 0..<200 { #expect(endless.delayAfterFailure(random: random).isFinite) }
        }
    }

    @Test func connectionThatStayedUpIsReplacedAtOnce() {
        var backoff = Backoff(minimum: 0, maximum: 10)
        _ = backoff.delayAfterFailure(random: middle)
        _ = backoff.delayAfterFailure(random: middle)
        // Two failures earned 0.4 s.
        #expect(backoff.delayAfterConnection(lasted: 0.4, random: middle) == 0)
        #expect(backoff.failures == 0)
    }

    @Test func connectionThatIsClosedAtOnceCountsAsAFailure() {
        var backoff = Backoff(minimum: 0, maximum: 10)
        let waits = (0..<4).map { _ in
            (backoff.delayAfterConnection(lasted: 0.01, random: middle) * 1000).rounded() / 1000
        }
        #expect(waits == [0.1, 0.2, 0.4, 0.8])
    }

    @Test func minimumIsKeptAfterALongConnectionToo() {
        var backoff = Backoff(minimum: 2, maximum: 10)
        #expect(backoff.delayAfterConnection(lasted: 3600, random: middle) == 2)
    }
}
