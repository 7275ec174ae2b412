import Testing

@testable import WebSocketEngine

@Suite struct ReconnectStateTests {
    private static let second: Nanoseconds = 1_000_000_000

    private func reconnectState(reconnect: Int? = nil) -> ReconnectState {
        ReconnectState(backoff: Backoff(minimum: 0, maximum: 10), maximumRetries: reconnect)
    }

    private func isRetry(_ next: ReconnectState.Next) -> Bool {
        if case .retry = next { true } else { false }
    }

    @Test func connectOpensOnceAndOnlyOnce() {
        var reconnectState = reconnectState()
        #expect(reconnectState.connect() == .startAttempt)
        // Each start has its end.
        #expect(reconnectState.connect() == .endPendingConnect)
        #expect(reconnectState.attempts == 1)
    }

    @Test func closeWhileOpeningOrWaitingIsSilent() {
        var reconnectState = reconnectState()
        _ = reconnectState.connect()
        #expect(reconnectState.close() == .abort)
        #expect(reconnectState.phase == .stopped)
        _ = reconnectState.connect()
        #expect(isRetry(reconnectState.attemptFailed(permanent: false, random: 0)))
        #expect(reconnectState.phase == .waiting)
        #expect(reconnectState.close() == .abort)
    }

    @Test func closeOfWhatNeverStartedDoesNothing() {
        var reconnectState = reconnectState()
        #expect(reconnectState.close() == .none)
    }

    @Test func permanentFailureStops() {
        var reconnectState = reconnectState()
        _ = reconnectState.connect()
        #expect(reconnectState.attemptFailed(permanent: true, random: 0) == .stop)
        #expect(reconnectState.phase == .stopped)
        #expect(reconnectState.connect() == .startAttempt)
    }

    @Test func countOfAttemptsInARowIsLimited() {
        var reconnectState = reconnectState(reconnect: 2)
        _ = reconnectState.connect()
        #expect(isRetry(reconnectState.attemptFailed(permanent: false, random: 0)))
        reconnectState.beginRetry()
        #expect(isRetry(reconnectState.attemptFailed(permanent: false, random: 0)))
        reconnectState.beginRetry()
        #expect(reconnectState.attempts == 3)
        #expect(reconnectState.attemptFailed(permanent: false, random: 0) == .stop)
    }

    @Test func successStartsTheCountAgain() {
        var reconnectState = reconnectState(reconnect: 1)
        _ = reconnectState.connect()
        #expect(isRetry(reconnectState.attemptFailed(permanent: false, random: 0)))
        reconnectState.beginRetry()
        reconnectState.connectionOpened(0)
        #expect(isRetry(reconnectState.connectionLost(Self.second, random: 0)))
        reconnectState.beginRetry()
        #expect(reconnectState.attempts == 1)
        #expect(reconnectState.attemptFailed(permanent: false, random: 0) == .stop)
    }

    @Test func withoutReconnectALostConnectionIsTheEnd() {
        var reconnectState = reconnectState(reconnect: 0)
        _ = reconnectState.connect()
        reconnectState.connectionOpened(0)
        #expect(reconnectState.connectionLost(Self.second, random: 0) == .stop)
    }

    @Test func lostAfterAWhileIsReplacedAtOnce() {
        var reconnectState = reconnectState()
        _ = reconnectState.connect()
        reconnectState.connectionOpened(Self.second)
        #expect(reconnectState.connectionLost(2 * Self.second, random: 0) == .retry(after: 0))
    }

    @Test func acceptedAndClosedIsNoTightLoop() {
        var reconnectState = reconnectState()
        _ = reconnectState.connect()
        var waits: [Double] = []
        for _ in 0..<6 {
            reconnectState.connectionOpened(0)
            guard case .retry(let wait) = reconnectState.connectionLost(1000, random: 0) else {
                Issue.record("no retry after \(waits)")
                return
            }
            waits.append(wait)
            reconnectState.beginRetry()
        }
        #expect(waits == waits.sorted())
        #expect(waits[0] >= 0.075)
        #expect(waits[5] >= 2)
    }

    @Test func acceptedAndClosedCountsAsAnAttemptInARow() {
        var reconnectState = reconnectState(reconnect: 2)
        _ = reconnectState.connect()
        for _ in 0..<2 {
            reconnectState.connectionOpened(0)
            #expect(isRetry(reconnectState.connectionLost(1000, random: 0)))
            reconnectState.beginRetry()
        }
        reconnectState.connectionOpened(0)
        #expect(reconnectState.connectionLost(1000, random: 0) == .stop)
    }

    @Test func whatFollowsIsTheSameAsWasForeseen() {
        var reconnectState = reconnectState(reconnect: 1)
        _ = reconnectState.connect()
        reconnectState.connectionOpened(0)
        let next = reconnectState.announceNext(1000, random: 0)
        #expect(isRetry(next))
        #expect(reconnectState.connectionLost(Self.second, random: .max) == next)
        reconnectState.beginRetry()
        reconnectState.connectionOpened(0)
        #expect(reconnectState.announceNext(1000, random: 0) == .stop)
        #expect(reconnectState.connectionLost(Self.second, random: .max) == .stop)
    }

    @Test func whatWasForeseenEndsWithTheScriptsClose() {
        var reconnectState = reconnectState()
        _ = reconnectState.connect()
        reconnectState.connectionOpened(0)
        #expect(isRetry(reconnectState.announceNext(1000, random: 0)))
        _ = reconnectState.close()
        #expect(reconnectState.connectionLost(1000, random: 0) == .stop)
    }

    @Test func attemptsAreThoseSinceTheLastSuccess() {
        var reconnectState = reconnectState()
        _ = reconnectState.connect()
        _ = reconnectState.attemptFailed(permanent: false, random: 0)
        reconnectState.beginRetry()
        #expect(reconnectState.attempts == 2)
        reconnectState.connectionOpened(0)
        #expect(reconnectState.attempts == 0)
        _ = reconnectState.connectionLost(Self.second, random: 0)
        #expect(reconnectState.attempts == 0)
        reconnectState.beginRetry()
        #expect(reconnectState.attempts == 1)
    }

    @Test func closedByTheScriptStops() {
        var reconnectState = reconnectState()
        _ = reconnectState.connect()
        reconnectState.connectionOpened(0)
        #expect(reconnectState.close() == .startClosingHandshake)
        #expect(reconnectState.close() == .none)
        #expect(reconnectState.connectionLost(0, random: 0) == .stop)
    }

    @Test func connectWhileClosingStartsAgainAfterTheClose() {
        var reconnectState = reconnectState()
        _ = reconnectState.connect()
        reconnectState.connectionOpened(0)
        _ = reconnectState.close()
        #expect(reconnectState.connect() == .none)
        #expect(reconnectState.connectionLost(0, random: 0) == .restart)
        #expect(reconnectState.phase == .connecting)
    }

    @Test func connectWhileClosingCanBeTakenBack() {
        var reconnectState = reconnectState()
        _ = reconnectState.connect()
        reconnectState.connectionOpened(0)
        _ = reconnectState.close()
        _ = reconnectState.connect()
        #expect(reconnectState.close() == .endPendingConnect)
        #expect(reconnectState.connectionLost(0, random: 0) == .stop)
    }

    @Test func serversWishToWaitIsKept() {
        var reconnectState = reconnectState()
        _ = reconnectState.connect()
        #expect(reconnectState.attemptFailed(permanent: false, atLeast: 5, random: 0) == .retry(after: 5))
    }
}
