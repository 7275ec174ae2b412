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
}
