// Why TLS failed, in words, and whether another attempt can succeed. A value, made on any thread; ConnectAttempt
// decides with it.

struct TLSFailure: Error, Sendable {
    enum Cause: Sendable {
        /// The server is not the expected one: another attempt would fail in the same way.
        case permanent
        /// An option, or a file that it names, can't be used. If it could before, another attempt may succeed: files
        /// are replaced.
        case options
        /// No memory, no descriptor, a broken connection.
        case temporary
    }

    let reason: String
    var cause = Cause.permanent

    static var outOfMemory: TLSFailure { TLSFailure(reason: "out of memory", cause: .temporary) }
}
