import CLinux
import Glibc
import Testing

@testable import WebSocketEngine

/// The host closes a socket of ours, and another one gets its number.
@Suite struct SocketWriterTests {
    /// A connected TCP socket and its peer. The caller closes them.
    private func connect() throws -> (own: Int32, peer: Int32) {
        let server = try LocalServer()
        let own = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        let literal = Resolver.literalAddresses(HostAndPort(host: "127.0.0.1", port: server.port)).first
        let status = try #require(literal).withSockaddr { Glibc.connect(own, $0, $1) }
        try #require(status == 0)
        return (own, try server.accept())
    }

    private func write(_ text: StaticString, _ writer: SocketWriter) -> (Int, Int32) {
        let count = writer.write(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
        return (count, count < 0 ? errno : 0)
    }

    private func received(_ socket: Int32) -> Int {
        var bytes = [UInt8](repeating: 0, count: 16)
        return recv(socket, &bytes, bytes.count, Int32(MSG_DONTWAIT))
    }

    @Test(arguments: [false, true]) func writesToItsSocket(_ isTCP: Bool) throws {
        let (own, peer) = try isTCP ? connect() : makeSocketPair()
        defer { for number in [own, peer] { close(number) } }
        let writer = SocketWriter(DescriptorReference(own), isTCP: isTCP)
        #expect(write("hi", writer) == (2, 0))
        #expect(received(peer) == 2)
    }

    @Test(arguments: [false, true], [false, true])
    func anotherSocketWithTheNumberGetsNothing(_ isTCP: Bool, _ otherIsTCP: Bool) throws {
        let (own, peer) = try isTCP ? connect() : makeSocketPair()
        let (other, otherPeer) = try otherIsTCP ? connect() : makeSocketPair()
        defer { for number in [own, peer, other, otherPeer] { close(number) } }
        let writer = SocketWriter(DescriptorReference(own), isTCP: isTCP)
        try #require(dup2(other, own) == own)
        #expect(write("hi", writer) == (-1, EBADF))
        #expect(received(otherPeer) == -1)
    }

    @Test func anotherSocketOfOursWithTheNumberGetsNothing() throws {
        let (own, peer) = try connect()
        let (other, otherPeer) = try connect()
        defer { for number in [own, peer, other, otherPeer] { close(number) } }
        let first = SocketWriter(DescriptorReference(own), isTCP: true)
        try #require(dup2(other, own) == own)
        let second = SocketWriter(DescriptorReference(own), isTCP: true)
        #expect(write("hi", first) == (-1, EBADF))
        #expect(received(otherPeer) == -1)
        #expect(write("hi", second) == (2, 0))
        #expect(received(otherPeer) == 2)
    }

    /// To a socket that is connecting TCP says "would block" before it looks for the mark.
    @Test func aSocketThatIsConnectingWithTheNumberIsNotOurs() throws {
        let (own, peer) = try connect()
        let full = try ListeningSocket(backlog: 0)
        let address = try #require(Resolver.literalAddresses(HostAndPort(host: "127.0.0.1", port: full.port)).first)
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let others = (0..<3).map { _ in socket(AF_INET, type, 0) }
        defer { for number in [own, peer] + others { close(number) } }
        for other in others { _ = address.withSockaddr { Glibc.connect(other, $0, $1) } }
        let writer = SocketWriter(DescriptorReference(own), isTCP: true)
        try #require(dup2(others[2], own) == own)
        try #require(send(own, "x", 1, Int32(MSG_NOSIGNAL)) == -1 && errno == EAGAIN)
        #expect(write("hi", writer) == (-1, EBADF))
    }

    @Test func aFullSocketIsOurs() throws {
        let (own, peer) = try connect()
        defer { for number in [own, peer] { close(number) } }
        let writer = SocketWriter(DescriptorReference(own), isTCP: true)
        let bytes = [UInt8](repeating: 0, count: 1 << 20)
        var result = 0
        repeat { result = bytes.withUnsafeBytes { writer.write($0) } } while result > 0
        #expect(result == -1 && errno == EAGAIN)
    }

    @Test(arguments: [-1, 1 << 20, .max] as [Int32]) func aNumberThatTheTableLacksHasNoMark(_ number: Int32) {
        #expect(ws_mark_socket(number) == 0)
    }
}
