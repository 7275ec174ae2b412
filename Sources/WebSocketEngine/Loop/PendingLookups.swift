// The sessions that wait for a result that another thread computes, by question: each question is asked once, and a
// limited number of threads looks for answers. Used for name lookups (Resolver) and TLS contexts (TLSContextCache), on
// the thread that runs the loop.

struct PendingLookups<Question: Hashable> {
    /// A question stays here until it is answered, even when no token waits for it any more.
    private var tokens: [Question: [Poller.Token]] = [:]
    /// Questions that wait for a thread, the first one first. Each other question of `tokens` has one.
    private var queue: [Question] = []
    /// Threads at the same time. The system may not end a thread's work for minutes: the others must go on.
    private let maximumThreads: Int

    init(maximumThreads: Int) { self.maximumThreads = maximumThreads }

    /// Queues the question unless it is being asked. `next` then says what to start.
    mutating func add(_ token: Poller.Token, for question: Question) {
        if tokens[question] == nil { queue.append(question) }
        tokens[question, default: []].append(token)
    }

    /// The next question that may have a thread: the caller starts it.
    mutating func next() -> Question? {
        guard !queue.isEmpty, tokens.count - queue.count < maximumThreads else { return nil }
        return queue.removeFirst()
    }

    /// Removes the token of a session that no longer waits, and the question if it has no thread and no other token.
    mutating func cancel(_ token: Poller.Token, for question: Question) {
        tokens[question]?.removeAll { $0 == token }
        guard tokens[question]?.isEmpty == true, let index = queue.firstIndex(of: question) else { return }
        queue.remove(at: index)
        tokens.removeValue(forKey: question)
    }

    /// Removes a question that was answered. Returns the tokens that wait for it.
    mutating func finished(_ question: Question) -> [Poller.Token] { tokens.removeValue(forKey: question) ?? [] }
}
