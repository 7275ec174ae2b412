import Testing

@testable import WebSocketEngine

@Suite struct AcknowledgementTimeoutTests {
    private static let limit = AcknowledgementTimeout.limit
    private static let second: Nanoseconds = 1_000_000_000

    private func state(outstanding: Int, unanswered: Int, latest: Nanoseconds) -> Acknowledgement {
        Acknowledgement(outstanding: outstanding, unanswered: unanswered, latest: latest)
    }

    @Test func nothingIsWatchedBeforeSomethingWasSent() {
        var watch = AcknowledgementTimeout()
        #expect(watch.deadline == nil)
        watch.sent(Self.second)
        watch.sent(2 * Self.second)
        #expect(watch.deadline == Self.second + Self.limit)
    }

    @Test func whatWasAcknowledgedIsWatchedNoMore() {
        var watch = AcknowledgementTimeout()
        watch.sent(0)
        #expect(watch.check(state(outstanding: 0, unanswered: 0, latest: 1), Self.limit) == .alive)
        #expect(watch.deadline == nil)
    }

    @Test func whoAcknowledgesNothingIsGone() {
        var watch = AcknowledgementTimeout()
        watch.sent(Self.second)
        #expect(watch.check(state(outstanding: 9, unanswered: 9, latest: 0), Self.second + Self.limit) == .gone)
    }

    @Test func aSlowReaderIsWaitedFor() {
        var watch = AcknowledgementTimeout()
        watch.sent(0)
        let latest = Self.limit - Self.second
        #expect(watch.check(state(outstanding: 9, unanswered: 3, latest: latest), Self.limit) == .alive)
        #expect(watch.deadline == latest + Self.limit)
    }

    /// Its system answers to the probes, which come more than a minute apart.
    @Test(arguments: [0, 1]) func aReaderThatPausesIsWaitedFor(unanswered: Int) {
        var watch = AcknowledgementTimeout()
        watch.sent(0)
        #expect(watch.check(state(outstanding: 9, unanswered: unanswered, latest: 0), Self.limit) == .alive)
        #expect(watch.deadline! > Self.limit)
    }

    @Test func whereNobodyAcknowledgesNothingIsWatched() {
        var watch = AcknowledgementTimeout()
        watch.sent(0)
        #expect(watch.check(nil, Self.limit) == .alive)
        #expect(watch.deadline == nil)
    }
}
