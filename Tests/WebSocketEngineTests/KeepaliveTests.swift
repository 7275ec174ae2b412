import Testing

@testable import WebSocketEngine

@Suite struct KeepaliveTests {
    private static let second: Nanoseconds = 1_000_000_000
    private func seconds(_ count: UInt64) -> Nanoseconds { count * Self.second }

    /// A ping after 10 s of silence, 5 s for its answer; opened at 100 s.
    private func sample() -> Keepalive { Keepalive(interval: 10, timeout: 5, key: 7, now: seconds(100)) }

    @Test func pingsAfterTheInterval() {
        var keepalive = sample()
        #expect(keepalive.deadline == seconds(110))
        #expect(keepalive.due(seconds(109)) == .nothing)
        #expect(keepalive.due(seconds(110)) == .ping(1 << 32 | 7))
        #expect(keepalive.deadline == seconds(115))
    }

    @Test func anyByteRestartsTheInterval() {
        var keepalive = sample()
        keepalive.received(seconds(109))
        #expect(keepalive.due(seconds(118)) == .nothing)
        #expect(keepalive.deadline == seconds(119))
    }

    @Test func silenceAfterAPingIsTheEnd() {
        var keepalive = sample()
        _ = keepalive.due(seconds(110))
        #expect(keepalive.due(seconds(114)) == .nothing)
        #expect(keepalive.due(seconds(115)) == .gone)
    }

    @Test func anyByteAfterAPingIsASignOfLife() {
        var keepalive = sample()
        _ = keepalive.due(seconds(110))
        keepalive.received(seconds(114))
        #expect(keepalive.due(seconds(115)) == .nothing)
        #expect(keepalive.due(seconds(124)) == .ping(2 << 32 | 7))
    }

    @Test func bytesThatStillLeaveAreProgress() {
        var keepalive = sample()
        _ = keepalive.due(seconds(110))
        keepalive.progressed(seconds(114))
        #expect(keepalive.deadline == seconds(119))
        #expect(keepalive.due(seconds(119)) == .gone)
    }

    @Test func bytesThatLeaveAreNoSignOfLifeBeforeAPing() {
        var keepalive = sample()
        keepalive.progressed(seconds(109))
        #expect(keepalive.deadline == seconds(110))
    }

    @Test func silenceMeansNothingWhileNothingIsRead() {
        var keepalive = sample()
        keepalive.suspend()
        #expect(keepalive.deadline == nil)
        #expect(keepalive.due(seconds(200)) == .nothing)
        keepalive.resume(seconds(200))
        #expect(keepalive.deadline == seconds(210))
    }

    @Test func theLatestPongTellsTheLatency() {
        var keepalive = sample()
        _ = keepalive.due(seconds(110))
        keepalive.received(seconds(111))
        _ = keepalive.due(seconds(121))
        #expect(keepalive.answered(1 << 32 | 7, seconds(122)) == nil)
        #expect(keepalive.answered(2 << 32 | 7, seconds(123)) == seconds(2))
        // Once.
        #expect(keepalive.answered(2 << 32 | 7, seconds(124)) == nil)
    }

    @Test func aPongThatNoPingAskedForTellsNothing() {
        var keepalive = sample()
        #expect(keepalive.answered(7, seconds(101)) == nil)
    }
}
