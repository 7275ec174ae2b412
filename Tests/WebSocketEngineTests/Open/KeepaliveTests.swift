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
        #expect(keepalive.due(seconds(109), isSending: false) == .nothing)
        #expect(keepalive.due(seconds(110), isSending: false) == .ping(1 << 32 | 7))
        #expect(keepalive.deadline == seconds(115))
    }

    @Test func bytesInBothDirectionsRestartTheInterval() {
        var keepalive = sample()
        keepalive.received(seconds(109))
        keepalive.sent(seconds(108), isSending: false)
        #expect(keepalive.due(seconds(117), isSending: false) == .nothing)
        #expect(keepalive.deadline == seconds(118))
    }

    /// A server that streams to us may drop clients that are silent.
    @Test func ourOwnSilenceEndsWithAPingWhileThePeerSends() {
        var keepalive = sample()
        for time in 101...109 { keepalive.received(seconds(UInt64(time))) }
        #expect(keepalive.due(seconds(110), isSending: false) == .ping(1 << 32 | 7))
        keepalive.sent(seconds(110), isSending: false)
        for time in 111...119 { keepalive.received(seconds(UInt64(time))) }
        #expect(keepalive.due(seconds(119), isSending: false) == .nothing)
        #expect(keepalive.due(seconds(120), isSending: false) == .ping(2 << 32 | 7))
    }

    @Test func silenceAfterAPingIsTheEnd() {
        var keepalive = sample()
        _ = keepalive.due(seconds(110), isSending: false)
        #expect(keepalive.due(seconds(114), isSending: false) == .nothing)
        #expect(keepalive.due(seconds(115), isSending: false) == .gone)
    }

    @Test func anyByteAfterAPingIsASignOfLife() {
        var keepalive = sample()
        _ = keepalive.due(seconds(110), isSending: false)
        keepalive.received(seconds(114))
        #expect(keepalive.due(seconds(115), isSending: false) == .nothing)
        #expect(keepalive.due(seconds(124), isSending: false) == .ping(2 << 32 | 7))
    }

    @Test func bytesThatStillLeaveAreProgress() {
        var keepalive = sample()
        _ = keepalive.due(seconds(110), isSending: false)
        keepalive.sent(seconds(114), isSending: true)
        #expect(keepalive.deadline == seconds(119))
        #expect(keepalive.due(seconds(119), isSending: true) == .gone)
    }

    /// The kernel holds megabytes; the ping is behind them.
    @Test func acknowledgementsAreSignsOfLifeWhileBytesAreOnTheirWay() {
        var keepalive = sample()
        _ = keepalive.due(seconds(110), isSending: true)
        #expect(keepalive.needsAcknowledgement)
        // A window that opens now and then.
        keepalive.acknowledged(
            Acknowledgement(outstanding: 5000, unanswered: 1, latest: seconds(113)), isSending: true, seconds(115))
        #expect(keepalive.due(seconds(115), isSending: true) == .nothing)
        #expect(keepalive.due(seconds(118), isSending: true) == .gone)
        // A closed window: the peer's system answers to every probe.
        keepalive.acknowledged(
            Acknowledgement(outstanding: 5000, unanswered: 0, latest: seconds(60)), isSending: false, seconds(118))
        #expect(keepalive.due(seconds(118), isSending: false) == .nothing)
        #expect(keepalive.due(seconds(123), isSending: false) == .gone)
    }

    @Test func whoAcknowledgesNothingIsGone() {
        var keepalive = sample()
        _ = keepalive.due(seconds(110), isSending: false)
        keepalive.acknowledged(
            Acknowledgement(outstanding: 14, unanswered: 3, latest: seconds(100)), isSending: false, seconds(115))
        #expect(keepalive.due(seconds(115), isSending: false) == .gone)
    }

    /// Its system has the ping, the program hangs: pings that follow are acknowledged as well and tell nothing new.
    @Test func aProgramThatDoesNotAnswerIsGoneThoughItsSystemAcknowledges() {
        var keepalive = Keepalive(interval: 2, timeout: 5, key: 7, now: seconds(100))
        #expect(keepalive.due(seconds(102), isSending: false) == .ping(1 << 32 | 7))
        for (time, number) in [(104, 2), (106, 3)] as [(UInt64, UInt64)] {
            keepalive.acknowledged(
                Acknowledgement(outstanding: 0, unanswered: 0, latest: seconds(time - 2)), isSending: false,
                seconds(time))
            #expect(keepalive.due(seconds(time), isSending: false) == .ping(number << 32 | 7))
        }
        #expect(keepalive.deadline == seconds(107))
        #expect(keepalive.due(seconds(107), isSending: false) == .gone)
    }

    /// Its system has everything in a large buffer, and the program reads on.
    @Test func aWindowThatOpensIsASignOfLife() {
        var keepalive = sample()
        _ = keepalive.due(seconds(110), isSending: false)
        let delivered = Acknowledgement(outstanding: 0, unanswered: 0, latest: seconds(110), roundTrip: 1000)
        keepalive.acknowledged(delivered, isSending: false, seconds(115))
        #expect(keepalive.deadline == seconds(115))
        let opened = Acknowledgement(outstanding: 0, unanswered: 0, latest: seconds(114), roundTrip: 1000)
        keepalive.acknowledged(opened, isSending: false, seconds(115))
        #expect(keepalive.due(seconds(115), isSending: false) == .nothing)
        keepalive.acknowledged(opened, isSending: false, seconds(119))
        #expect(keepalive.due(seconds(119), isSending: false) == .gone)
    }

    /// `pongtimeout = math.huge` against a peer that answers none and closes idle connections.
    @Test func pingsGoOnWhileTheirAnswersAreWaitedFor() {
        var keepalive = Keepalive(interval: 10, timeout: .infinity, key: 7, now: seconds(100))
        for number in 1...5 as ClosedRange<UInt64> {
            let time = seconds(100 + 10 * number)
            #expect(keepalive.deadline == time)
            #expect(keepalive.due(time, isSending: false) == .ping(number << 32 | 7))
            keepalive.sent(time, isSending: false)
        }
    }

    @Test func pingsDoNotPileUpBehindBytesThatDoNotLeave() {
        var keepalive = Keepalive(interval: 10, timeout: .infinity, key: 7, now: seconds(100))
        #expect(keepalive.due(seconds(110), isSending: true) == .ping(1 << 32 | 7))
        #expect(keepalive.due(seconds(120), isSending: true) == .nothing)
        #expect(keepalive.deadline == seconds(130))
        #expect(keepalive.due(seconds(130), isSending: false) == .ping(2 << 32 | 7))
    }

    @Test func bytesThatLeaveAreNoSignOfLifeBeforeAPing() {
        var keepalive = sample()
        keepalive.sent(seconds(109), isSending: true)
        #expect(keepalive.deadline == seconds(110))
    }

    @Test func silenceMeansNothingWhileNothingIsRead() {
        var keepalive = sample()
        _ = keepalive.due(seconds(110), isSending: false)
        keepalive.suspend()
        // Ours means something still.
        #expect(keepalive.due(seconds(120), isSending: false) == .ping(2 << 32 | 7))
        keepalive.sent(seconds(120), isSending: false)
        #expect(keepalive.due(seconds(129), isSending: false) == .nothing)
        keepalive.resume(seconds(129))
        #expect(keepalive.deadline == seconds(130))
    }

    @Test func aPongTellsTheLatency() {
        var keepalive = sample()
        _ = keepalive.due(seconds(110), isSending: false)
        #expect(keepalive.answered(1 << 32 | 7, seconds(112)) == seconds(2))
        // Once.
        #expect(keepalive.answered(1 << 32 | 7, seconds(113)) == nil)
    }

    @Test func eachPongTellsTheLatencyOfItsOwnPing() {
        var keepalive = sample()
        _ = keepalive.due(seconds(110), isSending: false)
        keepalive.received(seconds(111))
        _ = keepalive.due(seconds(120), isSending: false)
        #expect(keepalive.answered(1 << 32 | 7, seconds(121)) == seconds(11))
        #expect(keepalive.answered(2 << 32 | 7, seconds(122)) == seconds(2))
    }

    /// RFC 6455 5.5.3: a peer may answer the latest ping alone.
    @Test func aPeerThatAnswersOnlySomePingsHasALatency() {
        var keepalive = sample()
        for number in 1...40 as ClosedRange<UInt64> {
            _ = keepalive.due(seconds(100 + 10 * number), isSending: false)
            keepalive.received(seconds(101 + 10 * number))
            guard number % 3 == 0 else { continue }
            #expect(keepalive.answered(number << 32 | 7, seconds(101 + 10 * number)) == seconds(1))
            #expect(keepalive.answered((number - 1) << 32 | 7, seconds(101 + 10 * number)) == nil)
        }
    }

    @Test func aPongThatNoPingAskedForTellsNothing() {
        var keepalive = sample()
        #expect(keepalive.answered(7, seconds(101)) == nil)
    }
}
