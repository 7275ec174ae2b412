// The sessions that wait for a result that another thread computes, by question: each question is asked once. Used for name
// lookups (Resolver) and TLS contexts (TLSContextCache), on the thread that runs the loop.

struct PendingLookups<Question: Hashable> {
    /// A question stays here until it is answered, even when no token waits for it any more.
    private var tokens: [Question: [Poller.Token]] = [:]

    /// Returns true if the question is new: the caller then starts the lookup.
    mutating func add(_ token: Poller.Token, for question: Question) -> Bool {
        let isNew = tokens[question] == nil
        tokens[question, default: []].append(token)
        return isNew
    }

    /// Removes the token of a session that no longer waits. Returns true if no other token waits for this question.
    mutating func cancel(_ token: Poller.Token, for question: Question) -> Bool {
        tokens[question]?.removeAll { $0 == token }
        return tokens[question]?.isEmpty ?? true
    }

    /// Removes a question that was answered, or is no longer asked. Returns the tokens that wait for it.
    mutating func remove(_ question: Question) -> [Poller.Token] { tokens.removeValue(forKey: question) ?? [] }
}
