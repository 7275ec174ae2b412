// Why the answer of a script to a request can't be sent: thrown by HTTPResponse and ServerHandshake. Pure; used on both
// threads.

public struct AnswerFailure: Error, Equatable, Sendable {
    /// A clause for an error message; "it" is the script's answer.
    public let reason: String

    public init(_ reason: String) { self.reason = reason }
}

extension HeaderFields {
    /// Fails if a field can't stand in a script's answer: CR and LF would begin another field or another response, and
    /// some fields belong to the handshake or frame the body.
    public func checkForAnswer() throws(AnswerFailure) {
        for (name, value) in fields {
            guard isToken(name) else {
                throw AnswerFailure("it has a header whose name is not a token: '\(quotedForError(name))'")
            }
            guard isFieldValue(value) else {
                throw AnswerFailure("it has a control character in the header '\(quotedForError(name))'")
            }
            guard !ClientHandshake.reserved.contains(name.lowercased()) else {
                throw AnswerFailure("it sets the header '\(name)', which belongs to the server")
            }
        }
    }
}
