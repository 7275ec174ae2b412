// TLSConnection as the server. The client is ours, too, or bytes of the test.

import CLinux
import COpenSSL
import Dispatch
import Glibc
import Testing

@testable import WebSocketEngine

extension TLSConnectionTests {
    private func pair(
        _ client: TestCertificate? = nil, clientCA: String? = nil, version: Int32 = TLS1_3_VERSION
    ) throws -> TLSPair {
        let server = try TLSContext.server(identity, clientCA: clientCA)
        server.limit(to: version)
        return try TLSPair(try TLSContext.client(trusting: identity, client), server)
    }

    private func negotiatedProtocol(_ connection: TLSConnection) -> String {
        var name: UnsafePointer<UInt8>?
        var count: UInt32 = 0
        SSL_get0_alpn_selected(connection.ssl, &name, &count)
        return String(decoding: UnsafeBufferPointer(start: name, count: Int(count)), as: UTF8.self)
    }

    @Test(arguments: [(TLS1_2_VERSION, "TLSv1.2"), (TLS1_3_VERSION, "TLSv1.3")])
    func aServerAndAClientUnderstandEachOther(_ version: Int32, _ name: String) throws {
        let pair = try pair(version: version)
        let result = try pair.handshake()
        #expect(TLSPair.isComplete(result.client) && TLSPair.isComplete(result.server))
        #expect(TLSPair.write("question", pair.client) && TLSPair.read(pair.server) == "question")
        #expect(TLSPair.write("answer", pair.server) && TLSPair.read(pair.client) == "answer")
        let words = pair.server.description
        #expect(words.hasPrefix("\(name), ") && words.hasSuffix(", new session, no client certificate"))
        pair.client.sendCloseNotify()
        #expect(TLSPair.read(pair.server) == nil && !pair.server.isTruncated)
    }

    @Test(arguments: [TLS1_2_VERSION, TLS1_3_VERSION], [false, true])
    func aClientResumesItsSession(_ version: Int32, _ hasCertificate: Bool) throws {
        let own = try TestCertificate("own", issuer: clientCA)
        let client = try TLSContext.client(trusting: identity, hasCertificate ? own : nil)
        let server = try TLSContext.server(
            identity, clientCA: hasCertificate ? try clientCA.pem() : nil)
        server.limit(to: version)
        for words in ["new session", "session resumed", "session resumed"] {
            let pair = try TLSPair(client, server)
            #expect(TLSPair.isComplete(try pair.handshake().server))
            #expect(
                pair.server.description.hasSuffix(
                    ", \(words), " + (hasCertificate ? "client certificate CN=own" : "no client certificate")))
            #expect(pair.client.description.contains(", \(words), "))
            #expect(TLSPair.write("x", pair.client) && TLSPair.read(pair.server) == "x")
        }
        // Another context has other keys, and cannot read the ticket.
        let other = try TLSContext.server(identity, clientCA: server.options.ca)
        other.limit(to: version)
        let pair = try TLSPair(client, other)
        #expect(TLSPair.isComplete(try pair.handshake().server))
        #expect(pair.server.description.contains(", new session, "))
    }

    @Test(arguments: [TLS1_2_VERSION, TLS1_3_VERSION])
    func aClientNeedsTheCertificateThatIsAskedFor(_ version: Int32) throws {
        let issuer = try clientCA.pem()
        func reason(_ certificate: TestCertificate?) throws -> String? {
            let pair = try pair(certificate, clientCA: issuer, version: version)
            return TLSPair.reason(try pair.handshake().server)
        }
        #expect(try reason(try TestCertificate("good", usage: "clientAuth", issuer: clientCA)) == nil)
        #expect(try reason(nil) == "the client has not shown a certificate")
        // The server trusts no CAs of the system, nor its own certificate.
        for stranger in [try TestCertificate("stranger"), identity] {
            #expect(
                try reason(stranger)?.hasSuffix(
                    " is self-signed and not trusted; if it is the right one, give it as tls.ca") == true)
        }
        let orphan = try TestCertificate("orphan", issuer: try TestCertificate("client CA", isCA: true))
        #expect(try reason(orphan)?.hasPrefix("the client's certificate (CN=orphan) ") == true)
        let old = try TestCertificate("old", days: -2 ... -1, issuer: clientCA)
        #expect(try reason(old)?.hasPrefix("the client's certificate (CN=old) expired on 20") == true)
        let server = try TestCertificate("site", usage: "serverAuth", issuer: clientCA)
        #expect(
            try reason(server)?.hasPrefix("the client's certificate (CN=site) was refused: ") == true,
            "a server's certificate is none of a client")
    }

    @Test func aClientIsToldWhichCAsTheServerAccepts() throws {
        func names(_ trusted: String) throws -> [String] {
            let pair = try pair(try TestCertificate("own", issuer: clientCA), clientCA: trusted)
            #expect(TLSPair.isComplete(try pair.handshake().server))
            let names = SSL_get0_peer_CA_list(pair.client.ssl)
            return (0..<max(OPENSSL_sk_num(names), 0)).map { index in
                Certificate.name(OPENSSL_sk_value(names, index).map { OpaquePointer($0) })
            }
        }
        let own = try clientCA.pem()
        #expect(try names(own + TestCertificate("other").pem()).sorted() == ["CN=client CA", "CN=other"])
        // Names of 64 bytes each, more than fit in the message.
        var many = own
        for number in 0..<900 {
            let digits = "\(number)"
            many += try TestCertificate(String(repeating: "0", count: 64 - digits.utf8.count) + digits).pem()
        }
        #expect(try names(many).isEmpty)
    }

    @Test func aServerChoosesHTTP1OrGoesOnWithoutALPN() throws {
        func choice(_ offered: [String]) throws -> String {
            let pair = try pair()
            let names = offered.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
            SSL_set_alpn_protos(pair.client.ssl, names, UInt32(names.count))
            #expect(TLSPair.isComplete(try pair.handshake().server))
            #expect(negotiatedProtocol(pair.client) == negotiatedProtocol(pair.server))
            return negotiatedProtocol(pair.server)
        }
        #expect(try choice(["http/1.1"]) == "http/1.1")
        #expect(try choice(["h2", "http/1.1", "x"]) == "http/1.1")
        #expect(try choice(["h2", "http/1.0", "http/1.11"]) == "")
        #expect(try choice([]) == "")
    }

    @Test func theSecretsOfAServerAreLogged() throws {
        let folder = try TestFolder()
        let path = "\(folder.path)/keys"
        let threads = DispatchGroup()
        let server = try TLSContext.server(identity, threads: threads) { $0.keyLog = path }
        try TLSPair(try TLSContext.client(trusting: identity), server).handshake()
        threads.wait()
        var status = stat()
        #expect(stat(path, &status) == 0 && status.st_size > 100)
    }

    // MARK: - Failures

    /// Why the server gives up when the client sends these bytes.
    private func reason(_ bytes: [UInt8]) throws -> String? {
        let (theirs, ours) = try makeSocketPair()
        defer { for socket in [theirs, ours] { close(socket) } }
        let server = try TLSConnection(accepting: try TLSContext.server(identity), socket: ours)
        guard case .wouldBlock = server.continueHandshake() else { throw TLSFailure(reason: "it does not wait") }
        try #require(send(theirs, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
        return TLSPair.reason(server.continueHandshake())
    }

    @Test func aClientThatDoesNotSpeakTLSIsNamed() throws {
        for method in ["GET", "HEAD", "POST", "CONNECT"] {
            #expect(
                try reason(Array("\(method) / HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8))
                    == "the client does not speak TLS: it sent a plain HTTP request")
        }
        #expect(try reason(Array("SSH-2.0-OpenSSH_9.2p1\r\n".utf8)) == "the client does not speak TLS")
        #expect(try reason([UInt8](repeating: 0x16, count: 100)) == "the client does not speak TLS")
    }

    @Test func anAlertOfTheClientsIsInWords() throws {
        let client = try TLSContext.client(trusting: try TestCertificate("another"))
        for version in [TLS1_2_VERSION, TLS1_3_VERSION] {
            let server = try TLSContext.server(identity)
            server.limit(to: version)
            let result = try TLSPair(client, server).handshake()
            #expect(TLSPair.reason(result.server) == "the client refused our certificate: unknown CA")
        }
        // access_denied is an alert about the client's certificate (RFC 8446 section 6.2).
        #expect(
            TLSConnection.handshakeFailure(SSL_R_TLSV1_ALERT_ACCESS_DENIED)
                == "the client broke off the TLS handshake: access denied")
        #expect(TLSConnection.handshakeFailure(SSL_R_NO_SHARED_CIPHER) == nil)
    }

    @Test func aClientThatIsGoneEndsTheHandshake() throws {
        let (theirs, ours) = try makeSocketPair()
        defer { close(ours) }
        let server = try TLSConnection(accepting: try TLSContext.server(identity), socket: ours)
        close(theirs)
        guard case .end = server.continueHandshake() else { throw TLSFailure(reason: "it goes on") }
    }
}
