import CLinux
import COpenSSL
import CLinux
import Glibc
import Testing
import WebSocketProtocol

@testable import WebSocketEngine

@Suite struct TLSConnectionTests {
    /// Of our server and of its clients (+Accepting).
    let identity = try! TestCertificate("server")
    let clientCA = try! TestCertificate("client CA", isCA: true)

    /// A connection to a server of OpenSSL's, which does what the test says: all on one thread.
    private final class Pair {
        private(set) var connection: TLSConnection!
        let server: OpaquePointer
        let sockets: (ours: Int32, theirs: Int32)

        init(_ context: TLSContext, _ type: __socket_type = SOCK_STREAM, room: Int32? = nil) throws {
            var numbers: [Int32] = [0, 0]
            socketpair(AF_UNIX, Int32(type.rawValue | SOCK_NONBLOCK.rawValue), 0, &numbers)
            sockets = (numbers[0], numbers[1])
            if var room {
                for number in numbers { setsockopt(number, SOL_SOCKET, SO_SNDBUF, &room, socklen_t(4)) }
            }
            server = try #require(SSL_new(Self.context))
            SSL_set_fd(server, sockets.theirs)
            SSL_set_accept_state(server)
            connection = try TLSConnection(context, host: "localhost", port: 443, socket: sockets.ours)
            for _ in 0..<3 {
                if case .bytes = connection.continueHandshake() { break }
                SSL_do_handshake(server)
            }
            SSL_do_handshake(server)
            try #require(SSL_is_init_finished(server) == 1)
            // The server's sessions.
            try #require(read().isEmpty)
        }

        deinit {
            SSL_free(server)
            close(sockets.theirs)
            // Its socket is not closed yet.
            connection = nil
            close(sockets.ours)
        }

        // unsafe: made once; from then on OpenSSL alone changes it, under its locks.
        nonisolated(unsafe) private static let context: OpaquePointer = {
            let maker = EVP_PKEY_CTX_new_from_name(nil, "ED25519", nil)
            var key: OpaquePointer?
            EVP_PKEY_keygen_init(maker)
            EVP_PKEY_generate(maker, &key)
            EVP_PKEY_CTX_free(maker)
            let certificate = X509_new()
            X509_gmtime_adj(X509_getm_notBefore(certificate), 0)
            X509_gmtime_adj(X509_getm_notAfter(certificate), 86400)
            X509_set_pubkey(certificate, key)
            X509_sign(certificate, key, nil)
            let context = SSL_CTX_new(TLS_server_method())!
            SSL_CTX_use_certificate(context, certificate)
            SSL_CTX_use_PrivateKey(context, key)
            // A packet is read as a whole.
            SSL_CTX_ctrl(context, SSL_CTRL_SET_READ_AHEAD, 1, nil)
            X509_free(certificate)
            EVP_PKEY_free(key)
            return context
        }()

        /// What the connection reads.
        func read(_ most: Int = 1 << 20) -> [UInt8] {
            [UInt8](unsafeUninitializedCapacity: most) { buffer, count in
                if case .bytes(let read) = connection.read(into: UnsafeMutableRawBufferPointer(buffer)) { count = read }
            }
        }

        /// Writes what the socket takes, each time from another place; returns how much that was.
        func write(_ bytes: ArraySlice<UInt8>) -> Int {
            var total = 0
            while total < bytes.count {
                let copy = Array(bytes.dropFirst(total))
                guard case .bytes(let count) = copy.withUnsafeBytes(connection.write) else { break }
                total += count
            }
            return total
        }

        /// What has come to the server.
        func received() -> [UInt8] {
            var all: [UInt8] = []
            var part = [UInt8](repeating: 0, count: 1 << 16)
            var count = 0
            while SSL_read_ex(server, &part, part.count, &count) == 1 { all += part[..<count] }
            return all
        }
    }

    private func context() throws -> TLSContext {
        var options = Options.TLS()
        options.verifies = false
        return try TLSContext.make(options)
    }

    /// Bytes that do not repeat soon.
    private func bytes(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 7) } }

    @Test func manyRecordsLeaveWithOneCall() throws {
        // One packet is one call.
        let pair = try Pair(context(), SOCK_SEQPACKET)
        let message = bytes(50_000)
        #expect(pair.write(message[...]) == message.count)
        var packet = [UInt8](repeating: 0, count: 1 << 17)
        #expect(recv(pair.sockets.theirs, &packet, packet.count, 0) > message.count)
        #expect(recv(pair.sockets.theirs, &packet, packet.count, 0) == -1)
    }

    @Test func whatTheSocketHasNotTakenIsNotWritten() throws {
        let pair = try Pair(context(), room: 20_000)
        let message = bytes(1 << 20)
        var written = 0
        var received: [UInt8] = []
        var stalls = 0
        while written < message.count {
            let count = pair.write(message[written...])
            written += count
            if written < message.count { stalls += 1 }
            received += pair.received()
            // Of a record that is cut, the server has nothing yet.
            try #require(received.count + (16 << 10) > written && written >= received.count - (16 << 10))
        }
        #expect(stalls > 10)
        received += pair.received()
        #expect(received == message)
    }

    @Test func aConnectionHasMemoryForRecordsOnlyWhileTheyWait() throws {
        let context = try context()
        let slow = try Pair(context, room: 20_000)
        let other = try Pair(context)
        let message = bytes(200_000)
        var written = slow.write(message[...])
        #expect(written < message.count)
        #expect(context.recordBuffer.capacity == 0)
        #expect(other.write(message[..<1000]) == 1000)
        #expect(context.recordBuffer.capacity > 0)
        var received: [UInt8] = []
        while written < message.count {
            received += slow.received()
            written += slow.write(message[written...])
        }
        #expect(received + slow.received() == message)
        #expect(other.received() == Array(message[..<1000]))
        #expect(1..<2 * message.count ~= context.recordBuffer.capacity)
    }

    @Test func aPeerThatIsGoneIsAFailureWithoutSIGPIPE() throws {
        let pair = try Pair(context(), room: 20_000)
        let message = bytes(100_000)
        let written = pair.write(message[...])
        #expect(written < message.count)
        shutdown(pair.sockets.theirs, Int32(SHUT_RD))
        guard case .failed(.system(EPIPE)) = Array(message[written...]).withUnsafeBytes(pair.connection.write) else {
            Issue.record("it did not fail")
            return
        }
    }

    @Test func aPipeOfTheHostWithTheSocketsNumberIsNotRead() throws {
        let pair = try Pair(context(), room: 20_000)
        let (reader, writer) = try makePipe()
        defer { for number in [reader, writer] { close(number) } }
        #expect(write(writer, "host", 4) == 4)
        try #require(dup2(reader, pair.sockets.ours) == pair.sockets.ours)
        var bytes = [UInt8](repeating: 0, count: 64)
        guard case .failed(.system(ENOTSOCK)) = bytes.withUnsafeMutableBytes({ pair.connection.read(into: $0) }) else {
            Issue.record("it did not fail")
            return
        }
        #expect(read(reader, &bytes, 64) == 4)
    }

    @Test func newKeysThatAPeerAsksForWithoutReadingAreNotKeptWithoutEnd() throws {
        let pair = try Pair(context(), room: 20_000)
        let message = bytes(100_000)
        var written = pair.write(message[...])
        #expect(written < message.count)
        var asked = 0
        while pair.connection.readNeeds == .read, asked < 100_000 {
            SSL_key_update(pair.server, SSL_KEY_UPDATE_REQUESTED)
            SSL_do_handshake(pair.server)
            #expect(pair.read(100).isEmpty)
            asked += 1
        }
        #expect(1000..<100_000 ~= asked)
        // All of it goes on once the peer reads.
        var received: [UInt8] = []
        while written < message.count {
            received += pair.received()
            written += pair.write(message[written...])
        }
        _ = pair.read(100)
        #expect(pair.connection.readNeeds == .read)
        #expect(received + pair.received() == message)
        var count = 0
        SSL_write_ex(pair.server, message, 10, &count)
        #expect(pair.read() == Array(message[..<10]))
    }

    @Test func aSessionIsNotOfferedAgainAfterAFailedHandshake() throws {
        let context = try context()
        let session = try #require(SSL_SESSION_new())
        defer { SSL_SESSION_free(session) }
        SSL_SESSION_set_protocol_version(session, TLS1_2_VERSION)
        for server in ["localhost:443", "other:443"] { context.storeSession(session, for: server) }
        var sockets: [Int32] = [0, 0]
        socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0, &sockets)
        defer { for socket in sockets { close(socket) } }
        func isKept(_ server: String) -> Bool {
            let ssl = SSL_new(context.context)
            defer { SSL_free(ssl) }
            context.resumeSession(ssl!, for: server)
            return SSL_get_session(ssl) != nil
        }
        let connection = try TLSConnection(context, host: "localhost", port: 443, socket: sockets[0])
        guard case .wouldBlock = connection.continueHandshake() else { throw TLSFailure(reason: "it does not wait") }
        #expect(isKept("localhost:443"))
        // A fatal alert: handshake_failure (RFC 5246 section 7.2).
        #expect(write(sockets[1], [21, 3, 3, 0, 2, 2, 40] as [UInt8], 7) == 7)
        guard case .failed(.tls) = connection.continueHandshake() else { throw TLSFailure(reason: "it goes on") }
        #expect(!isKept("localhost:443") && isKept("other:443"))
    }

    @Test func aReadThatDoesNotEmptyTheSocketSaysSo() throws {
        let pair = try Pair(context(), room: 1 << 20)
        let message = bytes(1 << 14)
        var sent = 0
        var count = 0
        while SSL_write_ex(pair.server, message, message.count, &count) == 1 { sent += count }
        try #require(sent > 256 << 10)
        var received = 0
        repeat {
            received += pair.read().count
            #expect(pair.connection.hasPending == (received < sent))
        } while pair.connection.hasPending
        #expect(received == sent)
    }
}
