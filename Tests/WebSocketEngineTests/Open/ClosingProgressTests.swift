import Testing

@testable import WebSocketEngine

@Suite struct ClosingProgressTests {
    private static let second: Nanoseconds = 1_000_000_000
    private static let timeout = 5 * second
    private static let begin = 1000 * second

    /// What the kernel reports `seconds` after the close: the peer has just sent a packet.
    private func state(
        at seconds: Nanoseconds, outstanding: Int = 0, sent: Nanoseconds = 0, window: Int = 100,
        acknowledged: UInt64 = 50
    ) -> Acknowledgement {
        Acknowledgement(
            outstanding: outstanding, unanswered: 0, latest: Self.begin + seconds * Self.second,
            lastSent: Self.begin + sent * Self.second, window: window, acknowledged: acknowledged)
    }

    private func progress() -> ClosingProgress {
        ClosingProgress(state(at: 0, outstanding: 50, acknowledged: 0), Self.begin)
    }

    /// Seconds after the close.
    private func deadline(_ progress: inout ClosingProgress, _ state: Acknowledgement) -> Nanoseconds? {
        progress.extendedDeadline(state, timeout: Self.timeout, state.latest).map { ($0 - Self.begin) / Self.second }
    }

    @Test func aPeerThatReadsAllAndSendsOnAndOnGetsNoMoreTime() {
        var progress = progress()
        #expect(deadline(&progress, state(at: 5)) == nil)
    }

    @Test func aPeerThatReadsNothingAndSendsOnAndOnGetsNoMoreTime() {
        var progress = ClosingProgress(state(at: 0, outstanding: 50, window: 0), Self.begin)
        #expect(deadline(&progress, state(at: 5, outstanding: 50, window: 0)) == nil)
    }

    @Test func theTimeBeginsWhenTheLastBytesWereSent() {
        var progress = progress()
        #expect(deadline(&progress, state(at: 5, sent: 3)) == 8)
        #expect(deadline(&progress, state(at: 8, sent: 3)) == nil)
    }

    @Test func aPeerWhoseSystemAcknowledgesBytesGetsMoreTime() {
        var progress = progress()
        #expect(deadline(&progress, state(at: 5, outstanding: 40, acknowledged: 10)) == 10)
        #expect(deadline(&progress, state(at: 10, outstanding: 39, acknowledged: 11)) == 15)
        #expect(deadline(&progress, state(at: 15, outstanding: 39, acknowledged: 11)) == nil)
    }

    @Test func aPeerWhoseProgramReadsGetsMoreTimeWithinTheLimit() {
        var progress = progress()
        let limit = Int(ClosingProgress.limit / Self.second)
        for seconds in stride(from: 5, to: limit, by: 5) {
            #expect(deadline(&progress, state(at: Nanoseconds(seconds), window: 100 + seconds)) == UInt64(seconds + 5))
        }
        #expect(deadline(&progress, state(at: Nanoseconds(limit), window: 100 + limit)) == nil)
    }

    @Test func aPeerThatIsSilentAfterProgressGetsNoMoreTime() {
        var progress = progress()
        let silent = state(at: 5, outstanding: 40, window: 200, acknowledged: 10)
        let now = silent.latest + Self.timeout
        #expect(progress.extendedDeadline(silent, timeout: Self.timeout, now) == nil)
    }
}
