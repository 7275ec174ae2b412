// Who waits for an answer that another thread works out: the same question is asked once.

struct PendingLookups<Question: Hashable> {
    private var tokens: [Question: [Poller.Token]] = [:]

    /// Returns whether this question is new: then the caller asks it.
    mutating func add(_ token: Poller.Token, for question: Question) -> Bool {
        let isNew = tokens[question] == nil
        tokens[question, default: []].append(token)
        return isNew
    }

    /// The session of this token waits no longer. Returns whether nobody waits for the answer now; the question stays.
    mutating func cancel(_ token: Poller.Token, for question: Question) -> Bool {
        tokens[question]?.removeAll { $0 == token }
        return tokens[question]?.isEmpty ?? true
    }

    /// The answer has come, or is not wanted: returns the tokens that wait for it.
    mutating func remove(_ question: Question) -> [Poller.Token] { tokens.removeValue(forKey: question) ?? [] }
}
