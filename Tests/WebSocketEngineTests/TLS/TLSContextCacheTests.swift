import CLinux
import COpenSSL
import Dispatch
import Glibc
import Testing

@testable import WebSocketEngine

@Suite struct TLSContextCacheTests {
    /// The loop's side of a cache: takes the answers of its threads.
    private struct Asker: ~Copyable {
        let commandQueue: CommandQueue
        var cache = TLSContextCache()
        private var commands: [Command] = []

        init() throws { commandQueue = try CommandQueue(try LoopOwnership()) }

        /// Waits for one answer; returns it and who waits for it.
        mutating func receive() throws -> (tokens: [Poller.Token], result: Result<TLSContext, TLSFailure>) {
            while commands.isEmpty {
                if commandQueue.prepareToWait() {
                    var event = pollfd(fd: commandQueue.wakeup.number, events: Int16(POLLIN), revents: 0)
                    try #require(poll(&event, 1, 10_000) == 1, "no answer came")
                }
                commandQueue.didWake(signalled: true)
                commandQueue.drain(into: &commands)
            }
            guard case .tlsContextMade(let options, let result) = commands.removeFirst() else {
                throw TLSFailure(reason: "another command came")
            }
            return (cache.finished(options, result, commandQueue), result)
        }
    }

    private func options(_ ca: String) -> Options.TLS {
        var options = Options.TLS()
        options.ca = ca
        return options
    }

    @Test func aContextIsMadeOnceForAll() throws {
        var asker = try Asker()
        let options = options(try TestCertificate().pem())
        #expect(asker.cache.context(options, 1, asker.commandQueue) == nil)
        #expect(asker.cache.context(options, 2, asker.commandQueue) == nil)
        let answer = try asker.receive()
        #expect(answer.tokens == [1, 2])
        let context = try answer.result.get()
        #expect(asker.cache.context(options, 3, asker.commandQueue) === context)
    }

    @Test func aHungDiskHoldsALimitedNumberOfThreads() throws {
        let begun = WebSocketEngine.Mutex<[String]>([])
        let hasBegun = DispatchSemaphore(value: 0)
        let permits = DispatchSemaphore(value: 0)
        var asker = try Asker()
        asker.cache = TLSContextCache { (options, _) throws(TLSFailure) in
            begun.withLock { $0.append(options.ca ?? "") }
            hasBegun.signal()
            permits.wait()
            throw TLSFailure(reason: "no disk", cause: .temporary)
        }
        func awaitBegun(_ count: Int) throws {
            for _ in 0..<count { try #require(hasBegun.wait(timeout: .now() + 10) == .success) }
        }
        let limit = TLSContextCache.maximumThreads
        for number in 0..<1500 {
            #expect(asker.cache.context(options("\(number)"), Poller.Token(number), asker.commandQueue) == nil)
        }
        try awaitBegun(limit)
        #expect(begun.withLock { $0.count } == limit)
        // The rest goes on in the order of asking, one for each that has ended, without those that wait no longer.
        asker.cache.cancel(options("\(limit)"), Poller.Token(limit))
        permits.signal()
        #expect(try asker.receive().tokens.count == 1)
        try awaitBegun(1)
        #expect(begun.withLock { $0.last } == "\(limit + 1)")
        for number in limit + 2..<1500 { asker.cache.cancel(options("\(number)"), Poller.Token(number)) }
        for _ in 0..<limit { permits.signal() }
        for _ in 0..<limit { _ = try asker.receive() }
        #expect(begun.withLock { $0.count } == limit + 1)
    }

    @Test func aFullCacheIsEmptiedOnlyForAnotherContext() throws {
        var asker = try Asker()
        let ca = try TestCertificate().pem()
        let all = (0..<65).map { number in
            var options = options(ca)
            options.serverName = "\(number)"
            return options
        }
        let context = try TLSContext.make(all[0])
        func isKept(_ number: Int) -> Bool { asker.cache.context(all[number], 1, asker.commandQueue) === context }
        for options in all[..<64] { _ = asker.cache.finished(options, .success(context), asker.commandQueue) }
        _ = asker.cache.finished(all[0], .success(context), asker.commandQueue)
        #expect((0..<64).allSatisfy(isKept))
        _ = asker.cache.finished(all[64], .failure(.outOfMemory), asker.commandQueue)
        #expect((0..<64).allSatisfy(isKept))
        _ = asker.cache.finished(all[64], .success(context), asker.commandQueue)
        #expect(isKept(64) && !isKept(0))
        _ = try asker.receive()
    }

    @Test func aContextOfFilesIsCheckedForEachConnection() throws {
        let folder = try TestFolder()
        let file = try folder.write("ca.pem", try TestCertificate().pem())
        var asker = try Asker()
        #expect(asker.cache.context(options(file), 1, asker.commandQueue) == nil)
        let first = try asker.receive().result.get()
        #expect(asker.cache.context(options(file), 2, asker.commandQueue) == nil)
        #expect(try asker.receive().result.get() === first)
        try folder.write("ca.pem", try TestCertificate().pem())
        #expect(asker.cache.context(options(file), 3, asker.commandQueue) == nil)
        #expect(try asker.receive().result.get() !== first)
    }

    // MARK: - Servers

    private func serverOptions(_ certificate: String) -> Options.TLS {
        var options = Options.TLS()
        options.role = .server
        options.certificate = certificate
        return options
    }

    /// The subject of the certificate that the server shows.
    private func subject(_ context: TLSContext) -> String {
        Certificate.name(X509_get_subject_name(SSL_CTX_get0_certificate(context.context)))
    }

    @Test func aServerShowsTheNewCertificateWhenItsFilesHaveChanged() throws {
        let folder = try TestFolder()
        func write(_ subject: String) throws -> String {
            let identity = try TestCertificate(subject)
            return try folder.write("server.pem", try identity.pem() + identity.keyPEM())
        }
        var asker = try Asker()
        let options = serverOptions(try write("old"))
        #expect(asker.cache.context(options, 1, asker.commandQueue) == nil)
        #expect(subject(try asker.receive().result.get()) == "CN=old")
        _ = try write("new")
        #expect(asker.cache.context(options, 2, asker.commandQueue) == nil)
        #expect(subject(try asker.receive().result.get()) == "CN=new")
    }

    @Test func aServerWithBrokenFilesKeepsItsCertificate() throws {
        let folder = try TestFolder()
        let (old, new) = (try TestCertificate("old"), try TestCertificate("new"))
        let (oldText, newText) = (try old.pem() + old.keyPEM(), try new.pem() + new.keyPEM())
        var asker = try Asker()
        let options = serverOptions(try folder.write("server.pem", oldText))
        #expect(asker.cache.context(options, 1, asker.commandQueue) == nil)
        let first = try asker.receive().result.get()
        // Half written; without its key; with that of another; empty.
        for text in [String(newText.dropLast(60)), try new.pem(), try new.pem() + old.keyPEM(), ""] {
            try folder.write("server.pem", text)
            #expect(asker.cache.context(options, 2, asker.commandQueue) == nil)
            let answer = try asker.receive()
            #expect(try answer.tokens == [2] && answer.result.get() === first)
        }
        unlink("\(folder.path)/server.pem")
        #expect(asker.cache.context(options, 3, asker.commandQueue) == nil)
        #expect(try asker.receive().result.get() === first)
        try folder.write("server.pem", newText)
        #expect(asker.cache.context(options, 4, asker.commandQueue) == nil)
        #expect(subject(try asker.receive().result.get()) == "CN=new")
    }

    @Test func aClientWithBrokenFilesFails() throws {
        let folder = try TestFolder()
        let file = try folder.write("ca.pem", try TestCertificate().pem())
        var asker = try Asker()
        #expect(asker.cache.context(options(file), 1, asker.commandQueue) == nil)
        _ = try asker.receive().result.get()
        try folder.write("ca.pem", "")
        #expect(asker.cache.context(options(file), 2, asker.commandQueue) == nil)
        let failed = try asker.receive()
        #expect(throws: TLSFailure.self) { try failed.result.get() }
    }

    @Test func aFullCacheKeepsServersLongest() throws {
        var asker = try Asker()
        let (identity, ca) = (try TestCertificate(), try TestCertificate().pem())
        let text = try identity.pem() + identity.keyPEM()
        let server = try TLSContext.make(serverOptions(text))
        let client = try TLSContext.make(options(ca))
        _ = asker.cache.finished(server.options, .success(server), asker.commandQueue)
        for number in 0..<64 {
            var options = options(ca)
            options.serverName = "\(number)"
            _ = asker.cache.finished(options, .success(client), asker.commandQueue)
        }
        #expect(asker.cache.context(server.options, 1, asker.commandQueue) === server)
        // Servers alone do not fill it for ever.
        for number in 0..<64 {
            var options = serverOptions(text)
            options.ciphers = "\(number)"
            _ = asker.cache.finished(options, .success(server), asker.commandQueue)
        }
        #expect(asker.cache.context(server.options, 1, asker.commandQueue) == nil)
        _ = try asker.receive()
    }

    @Test func aFailureIsNotKept() throws {
        let folder = try TestFolder()
        var asker = try Asker()
        let options = options("\(folder.path)/ca.pem")
        #expect(asker.cache.context(options, 1, asker.commandQueue) == nil)
        let failed = try asker.receive()
        #expect(failed.tokens == [1])
        #expect(throws: TLSFailure.self) { try failed.result.get() }
        try folder.write("ca.pem", try TestCertificate().pem())
        #expect(asker.cache.context(options, 2, asker.commandQueue) == nil)
        _ = try asker.receive().result.get()
    }
}
