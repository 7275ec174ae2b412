import Testing

@testable import WebSocketEngine

@Suite struct LifecycleTests {
    private static let second: Nanoseconds = 1_000_000_000

    private func lifecycle(reconnect: Int? = nil) -> Lifecycle {
        Lifecycle(backoff: Backoff(minimum: 0, maximum: 10), reconnect: reconnect)
    }

    private func isRetry(_ next: Lifecycle.Next) -> Bool {
        if case .retry = next { true } else { false }
    }

    @Test func connectOpensOnceAndOnlyOnce() {
        var lifecycle = lifecycle()
        #expect(lifecycle.connect() == .open)
        // Each start has its end.
        #expect(lifecycle.connect() == .cancel)
        #expect(lifecycle.attempts == 1)
    }

    @Test func closeWhileOpeningOrWaitingIsSilent() {
        var lifecycle = lifecycle()
        _ = lifecycle.connect()
        #expect(lifecycle.close() == .abort)
        #expect(lifecycle.phase == .stopped)
        _ = lifecycle.connect()
        #expect(isRetry(lifecycle.failed(permanent: false, random: 0)))
        #expect(lifecycle.phase == .waiting)
        #expect(lifecycle.close() == .abort)
    }

    @Test func closeOfWhatNeverStartedDoesNothing() {
        var lifecycle = lifecycle()
        #expect(lifecycle.close() == .none)
    }

    @Test func permanentFailureStops() {
        var lifecycle = lifecycle()
        _ = lifecycle.connect()
        #expect(lifecycle.failed(permanent: true, random: 0) == .stop)
        #expect(lifecycle.phase == .stopped)
        #expect(lifecycle.connect() == .open)
    }

    @Test func countOfAttemptsInARowIsLimited() {
        var lifecycle = lifecycle(reconnect: 2)
        _ = lifecycle.connect()
        #expect(isRetry(lifecycle.failed(permanent: false, random: 0)))
        lifecycle.retry()
        #expect(isRetry(lifecycle.failed(permanent: false, random: 0)))
        lifecycle.retry()
        #expect(lifecycle.attempts == 3)
        #expect(lifecycle.failed(permanent: false, random: 0) == .stop)
    }

    @Test func successStartsTheCountAgain() {
        var lifecycle = lifecycle(reconnect: 1)
        _ = lifecycle.connect()
        #expect(isRetry(lifecycle.failed(permanent: false, random: 0)))
        lifecycle.retry()
        lifecycle.opened(0)
        #expect(isRetry(lifecycle.lost(Self.second, random: 0)))
        lifecycle.retry()
        #expect(lifecycle.attempts == 1)
        #expect(lifecycle.failed(permanent: false, random: 0) == .stop)
    }

    @Test func withoutReconnectALostConnectionIsTheEnd() {
        var lifecycle = lifecycle(reconnect: 0)
        _ = lifecycle.connect()
        lifecycle.opened(0)
        #expect(lifecycle.lost(Self.second, random: 0) == .stop)
    }

    @Test func lostAfterAWhileIsReplacedAtOnce() {
        var lifecycle = lifecycle()
        _ = lifecycle.connect()
        lifecycle.opened(Self.second)
        #expect(lifecycle.lost(2 * Self.second, random: 0) == .retry(after: 0))
    }

    @Test func acceptedAndClosedIsNoTightLoop() {
        var lifecycle = lifecycle()
        _ = lifecycle.connect()
        var waits: [Double] = []
        for _ in 0..<6 {
            lifecycle.opened(0)
            guard case .retry(let wait) = lifecycle.lost(1000, random: 0) else {
                Issue.record("no retry after \(waits)")
                return
            }
            waits.append(wait)
            lifecycle.retry()
        }
        #expect(waits == waits.sorted())
        #expect(waits[0] >= 0.075)
        #expect(waits[5] >= 2)
    }

    @Test func acceptedAndClosedCountsAsAnAttemptInARow() {
        var lifecycle = lifecycle(reconnect: 2)
        _ = lifecycle.connect()
        for _ in 0..<2 {
            lifecycle.opened(0)
            #expect(isRetry(lifecycle.lost(1000, random: 0)))
            lifecycle.retry()
        }
        lifecycle.opened(0)
        #expect(lifecycle.lost(1000, random: 0) == .stop)
    }

    @Test func whatFollowsIsTheSameAsWasForeseen() {
        var lifecycle = lifecycle(reconnect: 1)
        _ = lifecycle.connect()
        lifecycle.opened(0)
        let next = lifecycle.foresee(1000, random: 0)
        #expect(isRetry(next))
        #expect(lifecycle.lost(Self.second, random: .max) == next)
        lifecycle.retry()
        lifecycle.opened(0)
        #expect(lifecycle.foresee(1000, random: 0) == .stop)
        #expect(lifecycle.lost(Self.second, random: .max) == .stop)
    }

    @Test func whatWasForeseenEndsWithTheScriptsClose() {
        var lifecycle = lifecycle()
        _ = lifecycle.connect()
        lifecycle.opened(0)
        #expect(isRetry(lifecycle.foresee(1000, random: 0)))
        _ = lifecycle.close()
        #expect(lifecycle.lost(1000, random: 0) == .stop)
    }

    @Test func attemptsAreThoseSinceTheLastSuccess() {
        var lifecycle = lifecycle()
        _ = lifecycle.connect()
        _ = lifecycle.failed(permanent: false, random: 0)
        lifecycle.retry()
        #expect(lifecycle.attempts == 2)
        lifecycle.opened(0)
        #expect(lifecycle.attempts == 0)
        _ = lifecycle.lost(Self.second, random: 0)
        #expect(lifecycle.attempts == 0)
        lifecycle.retry()
        #expect(lifecycle.attempts == 1)
    }

    @Test func closedByTheScriptStops() {
        var lifecycle = lifecycle()
        _ = lifecycle.connect()
        lifecycle.opened(0)
        #expect(lifecycle.close() == .close)
        #expect(lifecycle.close() == .none)
        #expect(lifecycle.lost(0, random: 0) == .stop)
    }

    @Test func connectWhileClosingStartsAgainAfterTheClose() {
        var lifecycle = lifecycle()
        _ = lifecycle.connect()
        lifecycle.opened(0)
        _ = lifecycle.close()
        #expect(lifecycle.connect() == .none)
        #expect(lifecycle.lost(0, random: 0) == .restart)
        #expect(lifecycle.phase == .opening)
    }

    @Test func connectWhileClosingCanBeTakenBack() {
        var lifecycle = lifecycle()
        _ = lifecycle.connect()
        lifecycle.opened(0)
        _ = lifecycle.close()
        _ = lifecycle.connect()
        #expect(lifecycle.close() == .cancel)
        #expect(lifecycle.lost(0, random: 0) == .stop)
    }

    @Test func serversWishToWaitIsKept() {
        var lifecycle = lifecycle()
        _ = lifecycle.connect()
        #expect(lifecycle.failed(permanent: false, atLeast: 5, random: 0) == .retry(after: 5))
    }
}
