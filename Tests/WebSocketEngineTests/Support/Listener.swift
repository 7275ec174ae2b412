// A server's or proxy's listening socket, which the thread of the test uses between the turns of a TestLoop.

import CLinux
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

final class Listener {
    private let socket: ListeningSocket
    private var fillers: [Int32] = []

    /// - Parameter backlog: connections that the kernel takes before `accept`.
    init(backlog: Int32 = 64) throws {
        socket = try ListeningSocket(backlog: backlog)
        try #require(fcntl(socket.number, F_SETFL, O_NONBLOCK) == 0)
    }

    deinit { for number in fillers { close(number) } }

    var port: Int { socket.port }
    var address: Address { Resolver.literalAddresses(HostAndPort(host: "127.0.0.1", port: port))[0] }

    /// The next connection, if there is one.
    func accept() -> Peer? {
        let number = Glibc.accept(socket.number, nil, nil)
        return number < 0 ? nil : Peer(number)
    }

    /// Runs the loop until a connection comes.
    func accept(_ loop: TestLoop, sourceLocation: SourceLocation = #_sourceLocation) throws -> Peer {
        var peer: Peer?
        try loop.run(
            until: {
                peer = accept()
                return peer != nil
            }, "nobody connects", sourceLocation: sourceLocation)
        return try #require(peer)
    }

    /// A port that nobody listens on.
    static func closedPort() throws -> Int { try Listener().port }

    /// Takes connections until the kernel takes no more: the next one gets no answer.
    func fill() {
        for _ in 0..<4 {
            let number = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0)
            _ = address.withSockaddr { connect(number, $0, $1) }
            fillers.append(number)
        }
    }
}
