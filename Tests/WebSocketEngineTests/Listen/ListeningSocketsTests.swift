import CLinux
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

@Suite struct ListeningSocketsTests {
    private func listen(at text: String) throws -> ListeningSockets {
        try ListeningSockets(try ListenAddress(text), ServerOptions())
    }

    private func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    @Test func theSystemChoosesAPort() throws {
        var sockets = try listen(at: "127.0.0.1:0")
        #expect(sockets.port > 0 && sockets.description == "127.0.0.1:\(sockets.port)" && sockets.numbers.count == 1)
        sockets.takeAll().stop()
        #expect(sockets.numbers.isEmpty && sockets.port == 0 && sockets.description.isEmpty)
        #expect(throws: SystemError.self) { try sockets.accept(from: 0).peer }
    }

    @Test func localhostIsTwoSocketsOfOnePort() throws {
        let sockets = try listen(at: "localhost:0")
        #expect(sockets.numbers.count == 2)
        let port = sockets.port
        #expect(throws: SystemError.self) { try listen(at: "[::1]:\(port)").port }
        sockets.stop()
        let again = try listen(at: "[::1]:\(port)")
        again.stop()
    }

    /// If ::1 is taken, 127.0.0.1 does not stay bound.
    @Test func aFailureKeepsNothing() throws {
        let first = try listen(at: "[::1]:0")
        let port = first.port
        #expect(throws: SystemError.self) { try listen(at: "localhost:\(port)").port }
        let second = try listen(at: "127.0.0.1:\(port)")
        first.stop()
        second.stop()
    }

    @Test func acceptReturnsTheClient() throws {
        let sockets = try listen(at: ":0")
        let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { close(client) }
        let target = Address(IPAddress("127.0.0.1")!, port: sockets.port)
        #expect(target.withSockaddr { connect(client, $0, $1) } == 0)
        let accepted = try sockets.accept(from: 0)
        #expect(accepted.descriptor.number >= 0 && fcntl(accepted.descriptor.number, F_GETFD) & FD_CLOEXEC != 0)
        sockets.stop()
    }

    @Test func theFileOfAUnixSocketIsRemovedAtTheEnd() throws {
        let folder = try TestFolder()
        let path = "\(folder.path)/a.sock"
        let sockets = try listen(at: "unix:\(path)")
        #expect(exists(path) && sockets.description == "unix:\(path)" && sockets.port == 0)
        sockets.stop()
        #expect(!exists(path))
    }

    @Test func onlyTheFileOfADeadServerIsReplaced() throws {
        let folder = try TestFolder()
        let path = "\(folder.path)/a.sock"
        let dead = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        #expect(Address(path: path)!.withSockaddr { bind(dead, $0, $1) } == 0)
        close(dead)
        let live = try listen(at: "unix:\(path)")
        #expect(throws: SystemError.self) { try listen(at: "unix:\(path)").port }
        let file = try folder.write("file", "precious")
        #expect(throws: SystemError.self) { try listen(at: "unix:\(file)").port }
        #expect(exists(file))
        // Another server has taken the name: its file stays.
        unlink(path)
        let other = try listen(at: "unix:\(path)")
        live.stop()
        #expect(exists(path))
        other.stop()
        #expect(!exists(path))
    }
}
