// Why TLS can't go on, in words, and whether another attempt may go better.

struct TLSFailure: Error, Sendable {
    enum Cause: Sendable {
        /// The peer is not whom it should be: another attempt would end the same.
        case permanent
        /// An option, or a file that it names, can't be used. If it could before, it may again: files are replaced.
        case options
        /// This moment's trouble: no memory, no descriptor, a broken connection.
        case temporary
    }

    let reason: String
    var cause = Cause.permanent

    static var outOfMemory: TLSFailure { TLSFailure(reason: "out of memory", cause: .temporary) }
}
