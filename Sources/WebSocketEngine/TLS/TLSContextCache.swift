// The TLS contexts in use, by their options. Each is made on a thread of its own, 128 at most, since that reads files and
// takes milliseconds; a context that was made of files is checked there again for each connection: they may have changed.
// LoopContext owns the cache, ConnectAttempt and servers ask it; the answer comes to the loop as a command.
//
// A server whose files can't be used any more goes on with the context of the files before. A client fails instead: its
// next attempt may succeed.

import COpenSSL
import Dispatch

struct TLSContextCache {
    private var ready: [Options.TLS: TLSContext] = [:]
    /// Contexts that are made or checked at the same time. While a disk does not answer, those who read its files keep
    /// their threads; the others go on.
    static let maximumThreads = 128
    private var waiting = PendingLookups<Options.TLS>(maximumThreads: maximumThreads)
    private let make: @Sendable (Options.TLS, DispatchGroup) throws(TLSFailure) -> TLSContext
    /// Contexts that are kept. Before one more is added, the clients' are dropped, or if there are none, all.
    private static let maximum = 64

    /// - Parameter make: makes a context on the calling thread; the group is for threads that the context will start.
    init(
        make: @escaping @Sendable (Options.TLS, DispatchGroup) throws(TLSFailure) -> TLSContext = {
            try TLSContext.make($0, $1)
        }
    ) {
        self.make = make
    }

    /// The context for these options; nil when it comes later, as a command to the loop for this token.
    mutating func context(_ options: Options.TLS, _ token: Poller.Token, _ commandQueue: CommandQueue) -> TLSContext? {
        if let known = ready[options], !known.dependsOnFiles { return known }
        waiting.add(token, for: options)
        startThreads(commandQueue)
        return nil
    }

    /// The session of this token waits no longer. A context that nobody else waits for is not made any more.
    mutating func cancel(_ options: Options.TLS, _ token: Poller.Token) { waiting.cancel(token, for: options) }

    private mutating func startThreads(_ commandQueue: CommandQueue) {
        while let options = waiting.next() { beginToMake(options, commandQueue) }
    }

    private func beginToMake(_ options: Options.TLS, _ commandQueue: CommandQueue) {
        let known = ready[options]
        let previous = options.role == .server ? known : nil
        commandQueue.unfinishedThreads.enter()
        do throws(SystemError) {
            try startThread { [make] in
                let result = Result { () throws(TLSFailure) -> TLSContext in
                    if let known, known.matchesFiles() { return known }
                    do throws(TLSFailure) { return try make(options, commandQueue.unfinishedThreads) } catch {
                        guard let previous else { throw error }
                        return previous
                    }
                }
                // OpenSSL's clean-up for this thread. At the end of the thread it would not block fork.
                OPENSSL_thread_stop()
                commandQueue.post(.tlsContextMade(options, result))
                commandQueue.unfinishedThreads.leave()
            }
        } catch {
            let failure = TLSFailure(reason: error.description, cause: .temporary)
            commandQueue.post(.tlsContextMade(options, previous.map { .success($0) } ?? .failure(failure)))
            commandQueue.unfinishedThreads.leave()
        }
    }

    /// A thread has made the context, or has failed. Returns the attempts that wait for it; the next context gets the
    /// thread's place.
    mutating func finished(
        _ options: Options.TLS, _ result: Result<TLSContext, TLSFailure>, _ commandQueue: CommandQueue
    ) -> [Poller.Token] {
        defer { startThreads(commandQueue) }
        let context = try? result.get()
        if context != nil, ready[options] == nil, ready.count >= Self.maximum { makeRoom() }
        ready[options] = context
        return waiting.finished(options)
    }

    /// A server's context is dropped last: it has the keys of its clients' sessions.
    private mutating func makeRoom() {
        let count = ready.count
        ready = ready.filter { $0.key.role == .server }
        if ready.count == count { ready.removeAll() }
    }
}
