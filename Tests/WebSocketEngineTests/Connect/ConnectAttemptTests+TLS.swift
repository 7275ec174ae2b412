import COpenSSL
import CLinux
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

extension ConnectAttemptTests {
    /// The failure of an attempt at a server with this certificate.
    private func failure(
        _ identity: TestCertificate, hasWorked: Bool = false, _ change: (inout Options) throws -> Void
    ) throws -> ConnectAttempt.Failure {
        let server = try Listener()
        let test = try TestAttempt("wss://127.0.0.1:\(server.port)/", hasWorked: hasWorked, change)
        let tls = try TLSPeer(try server.accept(test.loop), identity)
        try tls.run(test.loop, until: { test.isOver })
        let failure = try #require(test.failure)
        #expect(failure.kind == "tls")
        return failure
    }

    @Test func aTrustedServerIsConnectedTo() throws {
        let identity = try TestCertificate()
        let server = try Listener()
        let test = try TestAttempt("wss://127.0.0.1:\(server.port)/") { $0.tls.ca = try identity.pem() }
        let tls = try TLSPeer(try server.accept(test.loop), identity)
        try tls.acceptHandshake(test.loop)
        let connection = try test.awaitConnection()
        #expect(connection.transport.tls?.description.hasSuffix("verified as 127.0.0.1") == true)
    }

    @Test func aServerThatIsNotTrustedFailsForGood() throws {
        let identity = try TestCertificate()
        let other = try TestCertificate("other")
        let unknown = try failure(identity, hasWorked: true) { $0.tls.ca = try other.pem() }
        #expect(unknown.isPermanent && unknown.reason.contains("is self-signed and not trusted"))
        let misnamed = try TestCertificate("misnamed", names: "DNS:example.com")
        let wrong = try failure(misnamed) { $0.tls.ca = try misnamed.pem() }
        #expect(wrong.isPermanent && wrong.reason.contains("is not for 127.0.0.1; it is for example.com"))
        let expired = try TestCertificate("old", days: -3 ... -1)
        let late = try failure(expired) { $0.tls.ca = try expired.pem() }
        #expect(late.isPermanent && late.reason.contains("expired on "))
    }

    @Test func aPinIsCheckedWithoutVerificationToo() throws {
        let identity = try TestCertificate()
        let wrong = try failure(identity) {
            $0.tls.verifies = false
            $0.tls.pins = [String(repeating: "A", count: 43) + "="]
        }
        #expect(wrong.isPermanent)
        #expect(wrong.reason == "the server's key does not match tls.pin: it is sha256//\(identity.pin)")
        let server = try Listener()
        let test = try TestAttempt("wss://127.0.0.1:\(server.port)/") {
            $0.tls.verifies = false
            $0.tls.pins = [identity.pin]
        }
        let tls = try TLSPeer(try server.accept(test.loop), identity)
        try tls.acceptHandshake(test.loop)
        #expect(
            try test.awaitConnection().transport.tls?.description.contains("certificate not verified") == true)
    }

    @Test func aServerThatSpeaksNoTLSMayBeTriedAgain() throws {
        let server = try Listener()
        let test = try TestAttempt("wss://127.0.0.1:\(server.port)/") { $0.tls.verifies = false }
        let peer = try server.accept(test.loop)
        _ = try peer.receive(1, test.loop)
        peer.send("HTTP/1.1 400 Bad Request\r\n\r\n")
        let failure = try test.awaitFailure()
        #expect(failure.kind == "tls" && !failure.isPermanent)
        #expect(failure.reason == "the server does not speak TLS on this port; is it ws:// instead of wss://?")
    }

    @Test func aConnectionThatEndsDuringTheTLSHandshakeMayBeTriedAgain() throws {
        let server = try Listener()
        let test = try TestAttempt("wss://127.0.0.1:\(server.port)/") { $0.tls.verifies = false }
        let peer = try server.accept(test.loop)
        // All of it: with unread bytes the connection would be reset.
        try test.loop.run(until: {
            peer.receive()
            return peer.received.count > 100
        })
        shutdown(peer.descriptor, Int32(SHUT_WR))
        let failure = try test.awaitFailure()
        #expect(failure.kind == "tls" && !failure.isPermanent)
        #expect(failure.reason == "the server closed the connection during the TLS handshake")
    }

    @Test(arguments: [false, true]) func filesOfOptionsAreAtFaultOnlyIfTheyNeverWorked(_ hasWorked: Bool) throws {
        let test = try TestAttempt("wss://127.0.0.1:1/", hasWorked: hasWorked) { $0.tls.ca = "/nonexistent/ca.pem" }
        let failure = try test.awaitFailure()
        #expect(failure.kind == "tls" && failure.isPermanent == !hasWorked)
        #expect(failure.reason.hasPrefix("the file '/nonexistent/ca.pem' of tls.ca can't be read: "))
    }

    @Test(arguments: [false, true]) func aFileOfCAsThatIsBeingReplacedMayBeReadAgain(_ hasWorked: Bool) throws {
        let folder = try TestFolder()
        let identity = try TestCertificate()
        for (text, words) in [
            ("", "no certificate in PEM form"), (String(try identity.pem().dropLast(40)), "a broken certificate"),
        ] {
            let test = try TestAttempt("wss://127.0.0.1:1/", hasWorked: hasWorked) {
                $0.tls.ca = try folder.write("ca.pem", text)
            }
            let failure = try test.awaitFailure()
            #expect(failure.kind == "tls" && failure.isPermanent == !hasWorked)
            #expect(failure.reason == "the file '\(folder.path)/ca.pem' of tls.ca has \(words)")
        }
        // The part that is written already ends behind a certificate.
        let other = try TestCertificate("other")
        let unknown = try failure(identity, hasWorked: hasWorked) {
            $0.tls.ca = try folder.write("ca.pem", other.pem())
        }
        #expect(unknown.isPermanent == !hasWorked && unknown.reason.contains("is self-signed and not trusted"))
        let expired = try TestCertificate("old", days: -3 ... -1)
        let late = try failure(expired, hasWorked: hasWorked) {
            $0.tls.ca = try folder.write("ca.pem", expired.pem())
        }
        #expect(late.isPermanent)
    }

    @Test func aRedirectFromTLSToNoneIsRefused() throws {
        let identity = try TestCertificate()
        let server = try Listener()
        let test = try TestAttempt("wss://127.0.0.1:\(server.port)/") { $0.tls.ca = try identity.pem() }
        let tls = try TLSPeer(try server.accept(test.loop), identity)
        let response = Array("HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".utf8)
        try tls.run(
            test.loop,
            until: {
                var byte: UInt8 = 0
                var count = 0
                guard SSL_read_ex(tls.ssl, &byte, 1, &count) == 1 else { return false }
                return SSL_write_ex(tls.ssl, response, response.count, &count) == 1
            })
        let failure = try test.awaitFailure()
        #expect(failure.kind == "handshake" && failure.reason.contains("and leads from TLS to ws://127.0.0.1:1/"))
    }

    @Test func anotherOriginGetsNoClientCertificate() throws {
        let test = try TestAttempt("wss://127.0.0.1:1/") {
            $0.tls.certificate = "/nonexistent/certificate"
            $0.tls.serverName = "named"
        }
        #expect(test.attempt.tlsOptions.certificate != nil)
        test.attempt.url = try WebSocketURL("wss://127.0.0.1:2/")
        #expect(test.attempt.tlsOptions.certificate == nil && test.attempt.tlsOptions.serverName == nil)
    }
}
