import CLinux
import Glibc
import Testing

@testable import WebSocketEngine

@Suite struct TLSContextCacheTests {
    /// The loop's side of a cache: takes the answers of its threads.
    private struct Asker: ~Copyable {
        let commandQueue: CommandQueue
        var cache = TLSContextCache()

        init() throws { commandQueue = try CommandQueue(try LoopOwnership()) }

        /// Waits for one answer; returns it and who waits for it.
        mutating func receive() throws -> (tokens: [Poller.Token], result: Result<TLSContext, TLSFailure>) {
            var commands: [Command] = []
            while commands.isEmpty {
                if commandQueue.prepareToWait() {
                    var event = pollfd(fd: commandQueue.wakeup.number, events: Int16(POLLIN), revents: 0)
                    try #require(poll(&event, 1, 10_000) == 1, "no answer came")
                }
                commandQueue.didWake(signalled: true)
                commandQueue.drain(into: &commands)
            }
            try #require(commands.count == 1)
            guard case .tlsContextMade(let options, let result) = commands[0] else {
                throw TLSFailure(reason: "another command came")
            }
            return (cache.finished(options, result), result)
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
        for options in all[..<64] { _ = asker.cache.finished(options, .success(context)) }
        _ = asker.cache.finished(all[0], .success(context))
        #expect((0..<64).allSatisfy(isKept))
        _ = asker.cache.finished(all[64], .failure(.outOfMemory))
        #expect((0..<64).allSatisfy(isKept))
        _ = asker.cache.finished(all[64], .success(context))
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
