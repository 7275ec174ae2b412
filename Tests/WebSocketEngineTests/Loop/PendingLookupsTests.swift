import Testing

@testable import WebSocketEngine

@Suite struct PendingLookupsTests {
    /// What starts now.
    private func started(_ waiting: inout PendingLookups<String>) -> [String] {
        var questions: [String] = []
        while let question = waiting.next() { questions.append(question) }
        return questions
    }

    @Test func theSameQuestionIsAskedOnce() {
        var waiting = PendingLookups<String>(maximumThreads: 9)
        waiting.add(1, for: "a")
        waiting.add(2, for: "a")
        waiting.add(3, for: "b")
        #expect(started(&waiting) == ["a", "b"])
        #expect(waiting.finished("a") == [1, 2])
        #expect(waiting.finished("a").isEmpty)
    }

    @Test func anAnsweredQuestionIsAskedAnew() {
        var waiting = PendingLookups<String>(maximumThreads: 9)
        for _ in 1...2 {
            waiting.add(1, for: "a")
            #expect(started(&waiting) == ["a"])
            #expect(waiting.finished("a") == [1])
        }
    }

    @Test func whoWaitsNoLongerGetsNoAnswer() {
        var waiting = PendingLookups<String>(maximumThreads: 9)
        waiting.add(1, for: "a")
        waiting.add(2, for: "a")
        #expect(started(&waiting) == ["a"])
        waiting.cancel(1, for: "a")
        waiting.cancel(2, for: "a")
        // The question is still asked: the next one waits for the same answer.
        waiting.add(3, for: "a")
        #expect(started(&waiting).isEmpty)
        #expect(waiting.finished("a") == [3])
        waiting.cancel(3, for: "b")
    }

    @Test func theThreadsAreLimited() {
        var waiting = PendingLookups<String>(maximumThreads: 2)
        for (token, question) in ["a", "b", "c", "d", "e"].enumerated() {
            waiting.add(Poller.Token(token), for: question)
        }
        #expect(started(&waiting) == ["a", "b"])
        // One that waits for a thread is taken out; one that has a thread keeps it until it is answered.
        waiting.cancel(2, for: "c")
        waiting.cancel(0, for: "a")
        #expect(started(&waiting).isEmpty)
        #expect(waiting.finished("a").isEmpty)
        #expect(started(&waiting) == ["d"])
        #expect(waiting.finished("b") == [1])
        #expect(started(&waiting) == ["e"])
    }

    @Test func aQuestionThatOthersWaitForIsNotTakenOut() {
        var waiting = PendingLookups<String>(maximumThreads: 1)
        waiting.add(1, for: "a")
        waiting.add(2, for: "b")
        waiting.add(3, for: "b")
        #expect(started(&waiting) == ["a"])
        waiting.cancel(2, for: "b")
        #expect(waiting.finished("a") == [1])
        #expect(started(&waiting) == ["b"])
        #expect(waiting.finished("b") == [3])
    }
}
