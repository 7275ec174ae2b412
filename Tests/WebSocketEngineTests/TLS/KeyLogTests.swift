import CLinux
import COpenSSL
import Dispatch
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

@Suite struct KeyLogTests {
    private let folder = try! TestFolder()
    private let threads = DispatchGroup()

    private func log(_ name: String) -> KeyLog? { KeyLog.open("\(folder.path)/\(name)", threads) }

    private func lines(_ name: String) throws -> [[Substring]] {
        let file = try #require(fopen("\(folder.path)/\(name)", "r"))
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        let count = fread(&bytes, 1, bytes.count, file)
        let text = String(decoding: bytes.prefix(count), as: UTF8.self)
        #expect(text.hasSuffix("\n"))
        return text.split(separator: "\n").map { $0.split(separator: " ") }
    }

    private func mode(_ path: String) -> mode_t {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & 0o777 : 0
    }

    @Test func linesAreAppendedToAFileThatOthersCannotRead() throws {
        let (one, other) = (log("keys"), log("keys"))
        for (log, line) in [(one, "A 1 2"), (other, "B 3 4"), (one, "C 5 6"), (log("keys"), "D 7 8")] {
            log?.append(line)
            threads.wait()
        }
        #expect(mode("\(folder.path)/keys") == 0o600)
        #expect(try lines("keys") == [["A", "1", "2"], ["B", "3", "4"], ["C", "5", "6"], ["D", "7", "8"]])
    }

    @Test func whatIsNoRegularFileIsIgnored() throws {
        let fifo = "\(folder.path)/fifo"
        try #require(mkfifo(fifo, 0o600) == 0)
        let reader = open(fifo, O_RDONLY | O_NONBLOCK)
        defer { close(reader) }
        for path in ["", folder.path, "\(folder.path)/none/keys", fifo, "/dev/null"] {
            if KeyLog.open(path, threads) != nil { Issue.record("\(path) is used") }
        }
    }

    @Test func aFileThatTheHostClosedIsNotWrittenTo() throws {
        let other = try folder.write("other", "x\n")
        let log = log("keys")
        // The host closes the log's descriptor and opens a file, which gets its number.
        let target = open("\(folder.path)/keys", O_RDONLY)
        var status = stat()
        fstat(target, &status)
        let number = try #require(
            (Int32(3)..<1024).first { number in
                var candidate = stat()
                return number != target && fstat(number, &candidate) == 0 && candidate.st_ino == status.st_ino
                    && candidate.st_dev == status.st_dev
            })
        close(target)
        let file = open(other, O_WRONLY | O_APPEND)
        dup2(file, number)
        close(file)
        defer { close(number) }
        log?.append("A 1 2")
        threads.wait()
        #expect(try lines("other") == [["x"]])
    }

    /// Connects to a server of this version. Returns the server's client random and master secret, in hex.
    private func connect(_ version: Int, keyLog: String?) throws -> (random: String, secret: String) {
        let identity = try TestCertificate()
        let server = try Listener()
        let test = try TestAttempt("wss://127.0.0.1:\(server.port)/") {
            $0.tls.ca = try identity.pem()
            $0.tls.keyLog = keyLog
        }
        let tls = try TLSPeer(try server.accept(test.loop), identity)
        SSL_ctrl(tls.ssl, SSL_CTRL_SET_MAX_PROTO_VERSION, version, nil)
        try tls.acceptHandshake(test.loop)
        _ = try test.awaitConnection()
        test.loop.context.commandQueue.unfinishedThreads.wait()
        func hex(_ bytes: some Sequence<UInt8>) -> String {
            bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
        }
        var random = [UInt8](repeating: 0, count: 32)
        #expect(SSL_get_client_random(tls.ssl, &random, 32) == 32)
        var secret = [UInt8](repeating: 0, count: 48)
        let count = SSL_SESSION_get_master_key(SSL_get_session(tls.ssl), &secret, 48)
        return (hex(random), hex(secret.prefix(count)))
    }

    @Test func theSecretOfTLS12IsTheServers() throws {
        let (random, secret) = try connect(0x0303, keyLog: "\(folder.path)/keys")
        #expect(try lines("keys") == [["CLIENT_RANDOM", Substring(random), Substring(secret)]])
    }

    @Test func theSecretsOfTLS13AreOfTheConnection() throws {
        let random = try connect(0x0304, keyLog: "\(folder.path)/keys").random
        let lines = try lines("keys")
        let labels = lines.map { $0[0] }
        for side in ["CLIENT", "SERVER"] {
            #expect(labels.contains("\(side)_HANDSHAKE_TRAFFIC_SECRET"))
            #expect(labels.contains("\(side)_TRAFFIC_SECRET_0"))
        }
        #expect(lines.allSatisfy { $0.count == 3 && $0[1] == random && $0[2].count >= 64 })
    }

    @Test func aBadPathChangesNothing() throws {
        _ = try connect(0x0304, keyLog: "\(folder.path)/none/keys")
    }

    @Test func theFileStaysThatOfTheOptionsAfterARedirect() {
        var options = Options.TLS()
        options.keyLog = "/keys"
        #expect(options.withoutIdentity.keyLog == "/keys")
        #expect(options != Options.TLS())
    }
}
