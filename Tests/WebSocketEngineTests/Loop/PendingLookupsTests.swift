import Testing

@testable import WebSocketEngine

@Suite struct PendingLookupsTests {
    @Test func theSameQuestionIsAskedOnce() {
        var waiters = PendingLookups<String>()
        let first = waiters.add(1, for: "a")
        let second = waiters.add(2, for: "a")
        let other = waiters.add(3, for: "b")
        #expect(first)
        #expect(!second)
        #expect(other)
        let answered = waiters.remove("a")
        #expect(answered == [1, 2])
        let none = waiters.remove("a")
        #expect(none.isEmpty)
    }

    @Test func anAnsweredQuestionIsAskedAnew() {
        var waiters = PendingLookups<String>()
        _ = waiters.add(1, for: "a")
        _ = waiters.remove("a")
        let again = waiters.add(2, for: "a")
        #expect(again)
    }

    @Test func whoWaitsNoLongerGetsNoAnswer() {
        var waiters = PendingLookups<String>()
        _ = waiters.add(1, for: "a")
        _ = waiters.add(2, for: "a")
        let isFirstLast = waiters.cancel(1, for: "a")
        #expect(!isFirstLast)
        let isSecondLast = waiters.cancel(2, for: "a")
        #expect(isSecondLast)
        // The question is still asked: the next one waits for the same answer.
        let isNew = waiters.add(3, for: "a")
        #expect(!isNew)
        let answered = waiters.remove("a")
        #expect(answered == [3])
        let isUnknownAwaited = waiters.cancel(3, for: "b")
        #expect(isUnknownAwaited)
    }
}
