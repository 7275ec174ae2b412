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
        #expect(waits(backoff, 9) == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10])
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

    @Test func minimumWinsOverASmallerMaximum() {
        #expect(waits(Backoff(minimum: 20, maximum: 10), 2) == [20, 20])
    }

    @Test func maximumOfZeroIsNoTightLoop() {
        #expect(waits(Backoff(minimum: 0, maximum: 0), 3) == [0.01, 0.01, 0.01])
    }

    @Test func doublingNeverOverflows() {
        var backoff = Backoff(minimum: 0, maximum: 3)
        for _ in 0..<200 { _ = backoff.delayAfterFailure(random: middle) }
        #expect((backoff.delayAfterFailure(random: middle) - 3).magnitude < 1e-6)
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
