import Dispatch
import CLinux
import Glibc
import Synchronization
import Testing

@testable import WebSocketEngine

@Suite struct ResolverTests {
    /// A system resolver that answers when the test says so, one lookup at a time.
    private final class SilentDNS: Sendable {
        let permits = DispatchSemaphore(value: 0)
        let begun = DispatchSemaphore(value: 0)
        let names = WebSocketEngine.Mutex<[String]>([])

        func lookUp(_ name: HostAndPort) -> Resolution {
            names.withLock { $0.append(name.host) }
            begun.signal()
            permits.wait()
            return .failed("of \(name.host)")
        }

        /// Waits until this many more lookups have begun.
        func awaitBegun(_ count: Int) -> Bool {
            (0..<count).allSatisfy { _ in begun.wait(timeout: .now() + 10) == .success }
        }
    }

    /// The loop's side: takes answers as Loop+Commands does.
    private struct Asker: ~Copyable {
        let commandQueue: CommandQueue
        var resolver: Resolver
        var answers: [(tokens: [Poller.Token], name: String)] = []
        private var commands: [Command] = []

        init(_ dns: SilentDNS) throws {
            commandQueue = try CommandQueue(try LoopOwnership())
            resolver = Resolver { dns.lookUp($0) }
        }

        mutating func ask(_ host: String, _ token: Poller.Token) {
            #expect(resolver.resolve(HostAndPort(host: host, port: 80), token, commandQueue) == nil)
        }

        /// Takes this many answers.
        mutating func receive(_ count: Int) throws {
            let wanted = answers.count + count
            while answers.count < wanted {
                if commandQueue.prepareToWait() {
                    var event = pollfd(fd: commandQueue.wakeup.number, events: Int16(POLLIN), revents: 0)
                    try #require(poll(&event, 1, 10_000) == 1, "no answer came")
                }
                commandQueue.didWake(signalled: true)
                commandQueue.drain(into: &commands)
                for case .lookupFinished(let name, _) in commands {
                    answers.append((resolver.finished(name, commandQueue), name.host))
                }
                commands.removeAll()
            }
        }
    }

    private static let limit = Resolver.maximumThreads

    @Test func aSilentDNSHoldsOnlyThePoolsThreads() throws {
        let dns = SilentDNS()
        var asker = try Asker(dns)
        for number in 0..<1500 { asker.ask("host\(number).test", Poller.Token(number)) }
        try #require(dns.awaitBegun(Self.limit))
        // All have begun that may: each of them is one thread.
        #expect(dns.names.withLock { $0.count } == Self.limit)
        for _ in 0..<3 { dns.permits.signal() }
        try asker.receive(3)
        try #require(dns.awaitBegun(3))
        #expect(dns.names.withLock { $0.count } == Self.limit + 3)
        #expect(asker.answers.allSatisfy { $0.tokens.count == 1 })
        // The rest goes in the order of asking, whichever ends first.
        #expect(dns.names.withLock { Set($0) } == Set((0..<Self.limit + 3).map { "host\($0).test" }))
        for number in Self.limit + 3..<1500 {
            asker.resolver.cancel(HostAndPort(host: "host\(number).test", port: 80), Poller.Token(number))
        }
        for _ in 0..<Self.limit { dns.permits.signal() }
        try asker.receive(Self.limit)
        #expect(dns.names.withLock { $0.count } == Self.limit + 3)
    }

    @Test func aHungLookupHoldsOnlyItsThread() throws {
        let dns = SilentDNS()
        let hung = SilentDNS()
        var asker = try Asker(dns)
        asker.resolver = Resolver { $0.host == "hung.test" ? hung.lookUp($0) : dns.lookUp($0) }
        asker.ask("hung.test", 0)
        for number in 1...100 { asker.ask("host\(number).test", Poller.Token(number)) }
        for _ in 1...100 { dns.permits.signal() }
        try asker.receive(100)
        #expect(asker.answers.map(\.name).sorted() == (1...100).map { "host\($0).test" }.sorted())
        hung.permits.signal()
        try asker.receive(1)
        #expect(asker.answers.last?.tokens == [0])
    }

    @Test func oneNameIsLookedUpOnceForAll() throws {
        let dns = SilentDNS()
        var asker = try Asker(dns)
        for token in 1...5 { asker.ask("shared.test", Poller.Token(token)) }
        try #require(dns.awaitBegun(1))
        asker.resolver.cancel(HostAndPort(host: "shared.test", port: 80), 3)
        dns.permits.signal()
        try asker.receive(1)
        #expect(asker.answers[0].tokens == [1, 2, 4, 5])
        #expect(dns.names.withLock { $0 } == ["shared.test"])
    }

    @Test func aNameThatOthersWaitForIsNotTakenBack() throws {
        let dns = SilentDNS()
        var asker = try Asker(dns)
        for number in 0..<Self.limit { asker.ask("busy\(number).test", 0) }
        asker.ask("wanted.test", 1)
        asker.ask("wanted.test", 2)
        asker.resolver.cancel(HostAndPort(host: "wanted.test", port: 80), 1)
        for _ in 0...Self.limit { dns.permits.signal() }
        try asker.receive(Self.limit + 1)
        #expect(asker.answers.first { $0.name == "wanted.test" }?.tokens == [2])
    }

    @Test func aLookupThatWasTakenBackWhileItRanAnswersTheNextOneWhoAsks() throws {
        let dns = SilentDNS()
        var asker = try Asker(dns)
        asker.ask("again.test", 1)
        try #require(dns.awaitBegun(1))
        asker.resolver.cancel(HostAndPort(host: "again.test", port: 80), 1)
        asker.ask("again.test", 2)
        dns.permits.signal()
        try asker.receive(1)
        #expect(asker.answers[0].tokens == [2])
        #expect(dns.names.withLock { $0.count } == 1)
    }

    @Test func addressesNeedNoThread() throws {
        let dns = SilentDNS()
        let asker = try Asker(dns)
        var resolver = asker.resolver
        for host in ["127.0.0.1", "::1", "localhost"] {
            guard
                case .addresses(let addresses)? = resolver.resolve(
                    HostAndPort(host: host, port: 80), 1, asker.commandQueue)
            else {
                Issue.record("\(host) was looked up")
                continue
            }
            #expect(!addresses.isEmpty)
        }
        #expect(dns.names.withLock { $0.isEmpty })
    }

    @Test(arguments: [
        ("fe80::1", "lo", "[fe80::1%lo]:80"), ("fe80::1", "1", "[fe80::1%lo]:80"), ("::1", "lo", "[::1%1]:80"),
    ])
    func aZoneIsANetworkInterface(_ host: String, _ zone: String, _ description: String) throws {
        let asker = try Asker(SilentDNS())
        var resolver = asker.resolver
        let name = HostAndPort(host: host, zone: zone, port: 80)
        guard case .addresses(let addresses)? = resolver.resolve(name, 1, asker.commandQueue) else {
            Issue.record("it has no address")
            return
        }
        #expect(addresses.map(\.description) == [description])
        #expect(addresses.map(\.host) == [host])
    }

    @Test func aZoneThatThisMachineDoesNotHaveIsAFailure() throws {
        let failure = try TestAttempt("ws://[fe80::1%25nowhere0]/").awaitFailure()
        #expect(failure.kind == "dns" && !failure.isPermanent)
        #expect(
            failure.reason == "can't resolve the host fe80::1: this machine has no network interface nowhere0")
    }
}
