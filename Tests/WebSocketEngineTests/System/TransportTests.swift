import CLinux
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

/// Sockets without TLS; TLSConnectionTests has those with it.
@Suite final class TransportTests {
    private let server: LocalServer
    private var loop: LoopContext

    init() throws {
        server = try LocalServer()
        loop = LoopContext(
            try Poller(), try CommandQueue(try LoopOwnership()), adopting: try allocate(4096))
    }

    private func address(port: Int) throws -> Address {
        try #require(Resolver.literalAddresses(HostAndPort(host: "127.0.0.1", port: port)).first)
    }

    private func connect() throws -> (Transport, peer: Int32) {
        let transport = try Transport(connecting: try address(port: server.port), slot: 2, &loop.poller)
        let peer = try server.accept()
        while case .pending = transport.connectStatus() {}
        return (transport, peer)
    }

    /// A connection that we have accepted, and the client's socket, which blocks.
    private func accept() throws -> (Transport, peer: Int32) {
        var options = ServerOptions()
        options.connection.pingInterval = 0
        let listening = try WebSocketEngine.ListeningSocket.listen(at: address(port: 0), isDual: false, options)
        let peer = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        let status = listening.address.withSockaddr { Glibc.connect(peer, $0, $1) }
        try #require(status == 0)
        let accepted = try listening.accept()
        let copy = FileDescriptor(fcntl(accepted.descriptor.number, F_DUPFD_CLOEXEC, 0))
        let transport = try Transport(accepted: copy, isUnix: false, keepsAlive: true, slot: 3, &loop.poller)
        return (transport, peer)
    }

    /// The next event for the socket.
    private func event(_ seconds: Double = 10) -> Poller.Readiness? {
        let limit = now() + Nanoseconds(seconds: seconds)
        while now() < limit {
            let count = loop.poller.wait(until: limit)
            for index in 0..<max(count, 0) where loop.poller.readiness(at: index).token != .max {
                return loop.poller.readiness(at: index)
            }
        }
        return nil
    }

    private func isBytes(_ result: Transport.Result, _ count: Int) -> Bool {
        if case .bytes(count) = result { true } else { false }
    }

    @Test func aConnectedSocketIsWritable() throws {
        let (transport, peer) = try connect()
        defer { close(peer) }
        guard case .connected = transport.connectStatus() else { throw SystemError("connect") }
        let readiness = try #require(event())
        #expect(readiness.token == transport.token && Poller.slot(of: readiness.token) == 2)
        #expect(transport.streamReadiness(readiness).contains(.write))
        #expect(transport.writerForScript != nil)
    }

    @Test func aRefusedConnectionSaysWhy() throws {
        // A port on which nobody listens any more.
        let port = try LocalServer().port
        let transport = try Transport(connecting: try address(port: port), slot: 0, &loop.poller)
        _ = event()
        guard case .failed(ECONNREFUSED) = transport.connectStatus() else { throw SystemError("connect", 0) }
    }

    @Test func bytesComeAndGo() throws {
        let (transport, peer) = try connect()
        defer { close(peer) }
        #expect(isBytes(Array("out".utf8).withUnsafeBytes { transport.write($0) }, 3))
        #expect(try LocalServer.receive(3, from: peer) == Array("out".utf8))
        guard case .wouldBlock = transport.read(into: loop.readBuffer) else { throw SystemError("read", 0) }
        transport.setInterest(.read, loop.poller)
        try LocalServer.send(Array("in".utf8), to: peer)
        let readiness = try #require(event())
        #expect(transport.streamReadiness(readiness) == .read && !readiness.endsOrStops)
        #expect(isBytes(transport.read(into: loop.readBuffer), 2))
        #expect(loop.readBuffer.prefix(2).elementsEqual("in".utf8))
    }

    @Test func anAcceptedSocketIsReadFirst() throws {
        let (transport, peer) = try accept()
        defer { close(peer) }
        // It is writable, but that is no event yet.
        #expect(event(0) == nil)
        try LocalServer.send(Array("in".utf8), to: peer)
        let readiness = try #require(event())
        #expect(readiness.token == transport.token && Poller.slot(of: readiness.token) == 3)
        #expect(transport.streamReadiness(readiness).contains(.read))
        #expect(isBytes(transport.read(into: loop.readBuffer), 2))
        transport.setInterest(.write, loop.poller)
        #expect(try #require(event()).writable)
        #expect(isBytes(Array("out".utf8).withUnsafeBytes { transport.write($0) }, 3))
        #expect(try LocalServer.receive(3, from: peer) == Array("out".utf8))
    }

    @Test func anAcceptedSocketHasTheOptionsOfAConnectedOne() throws {
        func options(_ transport: Transport) -> [Int32] {
            let number = transport.writerForScript?.descriptor.number ?? -1
            return [
                (Int32(IPPROTO_TCP), TCP_NODELAY), (SOL_SOCKET, SO_KEEPALIVE), (Int32(IPPROTO_TCP), TCP_KEEPIDLE),
                (Int32(IPPROTO_TCP), TCP_KEEPINTVL), (Int32(IPPROTO_TCP), TCP_KEEPCNT),
            ].map { level, option in
                var value: Int32 = -1
                var length = socklen_t(MemoryLayout<Int32>.size)
                getsockopt(number, level, option, &value, &length)
                return value
            }
        }
        let (accepted, peer) = try accept()
        defer { close(peer) }
        let (connected, other) = try connect()
        defer { close(other) }
        #expect(options(accepted) == [1, 1, 30, 10, 6] && options(connected) == options(accepted))
        #expect(accepted.shortReadEmptiesSocket)
    }

    @Test func anAcceptedUnixSocketMayHaveMoreBehindAShortRead() throws {
        let (ours, theirs) = try makeSocketPair()
        defer { close(theirs) }
        let transport = try Transport(
            accepted: FileDescriptor(ours), isUnix: true, keepsAlive: false, slot: 3, &loop.poller)
        #expect(!transport.shortReadEmptiesSocket)
        try LocalServer.send([1, 2, 3], to: theirs)
        #expect(try #require(event()).readable && isBytes(transport.read(into: loop.readBuffer), 3))
    }

    @Test func tlsInBothRoles() throws {
        let (ours, theirs) = try makeSocketPair()
        let server = try Transport(
            accepted: FileDescriptor(ours), isUnix: true, keepsAlive: false, slot: 3, &loop.poller)
        let client = try Transport(
            accepted: FileDescriptor(theirs), isUnix: true, keepsAlive: false, slot: 4, &loop.poller)
        let identity = try TestCertificate()
        try server.startTLS(accepting: try TLSContext.server(identity))
        try client.startTLS(try TLSContext.client(trusting: identity), host: "localhost", port: 443)
        #expect(server.writerForScript == nil)
        for _ in 0..<3 {
            _ = client.continueTLSHandshake()
            _ = server.continueTLSHandshake()
        }
        #expect(isBytes(Array("out".utf8).withUnsafeBytes { client.write($0) }, 3))
        #expect(isBytes(server.read(into: loop.readBuffer), 3))
        #expect(loop.readBuffer.prefix(3).elementsEqual("out".utf8))
    }

    @Test func theEndOfTheStreamComesBehindTheLastBytes() throws {
        let (transport, peer) = try connect()
        defer { close(peer) }
        transport.setInterest(.read, loop.poller)
        try LocalServer.send([1], to: peer)
        shutdown(peer, Int32(SHUT_WR))
        while try #require(event()).endsOrStops == false {}
        #expect(isBytes(transport.read(into: loop.readBuffer), 1))
        guard case .end = transport.read(into: loop.readBuffer) else { throw SystemError("read", 0) }
    }

    @Test func afterTheEndOfSendingThePeerCanStillSend() throws {
        let (transport, peer) = try connect()
        defer { close(peer) }
        transport.shutDownWriting()
        var byte: UInt8 = 0
        #expect(read(peer, &byte, 1) == 0)
        try LocalServer.send([1, 2], to: peer)
        transport.watchForDiscard(loop.poller)
        while try #require(event()).readable == false {}
        #expect(isBytes(transport.discard(into: loop.readBuffer), 2))
        guard case .failed(.system(EPIPE)) = ([1] as [UInt8]).withUnsafeBytes({ transport.write($0) }) else {
            throw SystemError("write", 0)
        }
    }

    /// A forked child may hold the socket, too.
    @Test func theEndOfThePeerIsSeenBehindBytesThatWereNotRead() throws {
        let (transport, peer) = try accept()
        #expect(transport.peerStatus == .connected)
        #expect(send(peer, "x", 1, 0) == 1)
        #expect(event()?.readable == true)
        #expect(transport.peerStatus == .connected)
        shutdown(peer, Int32(SHUT_WR))
        #expect(event()?.endsOrStops == true)
        #expect(transport.peerStatus == .hasStoppedSending)
        // Closed with bytes unread: the system resets the connection.
        _ = "y".withCString { transport.write(UnsafeRawBufferPointer(start: $0, count: 1)) }
        close(peer)
        #expect(event()?.endsOrStops == true)
        #expect(transport.peerStatus == .gone)
    }

    @Test func thePeerSeesTheEndAlthoughTheSocketHasAnotherOwner() throws {
        var (transport, peer): (Transport?, Int32) = try connect()
        defer { close(peer) }
        let copy = dup(try #require(transport?.writerForScript?.descriptor.number))
        defer { close(copy) }
        transport = nil
        var byte: UInt8 = 0
        #expect(read(peer, &byte, 1) == 0)
        #expect(loop.poller.wait(until: 0) == 0)
    }

    @Test func aSocketHasOneTurnInEachOfTheLoops() throws {
        let (transport, peer) = try connect()
        defer { close(peer) }
        let event = Poller.Readiness(token: transport.token, readable: true, writable: true, endsOrStops: false)
        #expect(transport.shouldHandle(event))
        transport.requestAnotherTurn(&loop)
        transport.requestAnotherTurn(&loop)
        let unfinished = loop.unfinished
        #expect(unfinished == [transport.token])
        // An event comes beside the turn that was requested.
        #expect(!transport.shouldHandle(event))
        #expect(transport.shouldHandle(.requestedTurn(transport.token)))
        #expect(transport.shouldHandle(event))
        let another = Poller.Readiness(token: 1, readable: true, writable: true, endsOrStops: false)
        #expect(!transport.shouldHandle(another) && !transport.shouldHandle(.requestedTurn(1)))
    }

    @Test func whatThePeersKernelAcknowledged() throws {
        let (transport, peer) = try connect()
        defer { close(peer) }
        #expect(isBytes(([1, 2, 3] as [UInt8]).withUnsafeBytes { transport.write($0) }, 3))
        _ = try LocalServer.receive(3, from: peer)
        let limit = now() + Nanoseconds(seconds: 10)
        while transport.unacknowledgedBytes > 0, now() < limit {}
        #expect(transport.unacknowledgedBytes == 0)
        let state = try #require(transport.acknowledgement(now()))
        #expect(state.outstanding == 0 && state.unanswered == 0 && state.latest <= now())
    }

    // MARK: - The host has closed the socket, and a file of its own has the number

    @Test(arguments: [false, true]) func theFileWithTheNumberIsNotWritten(_ isSocket: Bool) throws {
        let (transport, peer) = try connect()
        let number = try #require(transport.writerForScript?.descriptor.number)
        let (reader, writer) = try isSocket ? makeSocketPair() : makePipe()
        try #require(dup2(writer, number) == number)
        defer { for number in [number, peer, reader, writer] { close(number) } }
        guard case .failed(.system(EBADF)) = ([1] as [UInt8]).withUnsafeBytes({ transport.write($0) }) else {
            throw SystemError("write", 0)
        }
        var byte: UInt8 = 0
        #expect(read(reader, &byte, 1) == -1 && errno == EAGAIN)
        // Nor is it read, once that is known.
        if isSocket { try #require(Glibc.write(reader, "x", 1) == 1) }
        guard case .failed(.system(EBADF)) = transport.read(into: loop.readBuffer) else { throw SystemError("read", 0) }
        if isSocket { #expect(recv(number, &byte, 1, Int32(MSG_DONTWAIT)) == 1) }
    }

    @Test func aSocketWithTheNumberIsNotShutDown() throws {
        var (transport, peer): (Transport?, Int32) = try connect()
        let number = try #require(transport?.writerForScript?.descriptor.number)
        let (host, other) = try makeSocketPair()
        try #require(dup2(host, number) == number)
        defer { for number in [number, peer, host, other] { close(number) } }
        var byte: UInt8 = 0
        transport?.shutDownWriting()
        #expect(read(other, &byte, 1) == -1 && errno == EAGAIN)
        transport = nil
        #expect(read(other, &byte, 1) == -1 && errno == EAGAIN)
        #expect(send(number, "x", 1, Int32(MSG_NOSIGNAL)) == 1 && read(other, &byte, 1) == 1)
    }
}
