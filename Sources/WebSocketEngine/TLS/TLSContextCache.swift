// The contexts in use, each made once, on a thread of its own: that takes files and milliseconds. One that was made of
// files is looked at again for each connection, there too: the files may have changed.

import COpenSSL
import Dispatch

struct TLSContextCache {
    private var ready: [Options.TLS: TLSContext] = [:]
    private var waiters = PendingLookups<Options.TLS>()
    private static let maximum = 64
    /// Those that are being made.
    static let unfinishedThreads = DispatchGroup()

    /// The context for these options; nil when it comes later, as a command to the loop for this token.
    mutating func context(_ options: Options.TLS, _ token: Poller.Token, _ commandQueue: CommandQueue) -> TLSContext? {
        let known = ready[options]
        if let known, !known.dependsOnFiles { return known }
        guard waiters.add(token, for: options) else { return nil }
        Self.unfinishedThreads.enter()
        do throws(SystemError) {
            try startThread {
                let result = Result { () throws(TLSFailure) -> TLSContext in
                    if let known, known.matchesFiles { return known }
                    return try TLSContext.make(options)
                }
                // What the thread's end would do, and take OpenSSL's locks for.
                Fork.whileBlocked { OPENSSL_thread_stop() }
                commandQueue.post(.tlsContextMade(options, result))
                Self.unfinishedThreads.leave()
            }
        } catch {
            commandQueue.post(
                .tlsContextMade(options, .failure(TLSFailure(reason: error.description, cause: .temporary))))
            Self.unfinishedThreads.leave()
        }
        return nil
    }

    /// It has come: for these.
    mutating func finished(_ options: Options.TLS, _ result: Result<TLSContext, TLSFailure>) -> [Poller.Token] {
        if ready.count >= Self.maximum { ready.removeAll() }
        ready[options] = try? result.get()
        return waiters.remove(options)
    }

    /// Its files may have changed: the next attempt reads them again.
    mutating func invalidate(_ options: Options.TLS) { ready[options] = nil }
}
