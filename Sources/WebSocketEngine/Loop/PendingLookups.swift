// Who waits for an answer that another thread works out: the same question is asked once.

struct PendingLookups<Question: Hashable> {
    private var tokens: [Question: [Poller.Token]] = [:]

    /// True when nobody waits for it yet: ask.
    mutating func add(_ token: Poller.Token, for question: Question) -> Bool {
        tokens[question, default: []].append(token)
        return tokens[question]?.count == 1
    }

    /// The answer has come: for these.
    mutating func remove(_ question: Question) -> [Poller.Token] { tokens.removeValue(forKey: question) ?? [] }
}
