import COpenSSL
import CLinux
import Glibc
import Testing

@testable import WebSocketEngine

@Suite struct TLSContextTests {
    private func failure(_ change: (inout Options.TLS) throws -> Void) throws -> TLSFailure? {
        var options = Options.TLS()
        options.ca = try TestCertificate().pem()
        try change(&options)
        return #expect(throws: TLSFailure.self) { try TLSContext.make(options) }
    }

    private func make(_ change: (inout Options.TLS) throws -> Void) throws -> TLSContext {
        var options = Options.TLS()
        options.ca = try TestCertificate().pem()
        try change(&options)
        return try TLSContext.make(options)
    }

    @Test func theClientsCertificateNeedsItsKey() throws {
        let (one, other) = (try TestCertificate("one"), try TestCertificate("other"))
        _ = try make {
            $0.certificate = try one.pem()
            $0.key = try one.keyPEM()
        }
        // Both in one text, with the issuer's certificate.
        _ = try make { $0.certificate = try one.pem() + other.pem() + one.keyPEM() }
        let wrong = try failure {
            $0.certificate = try one.pem()
            $0.key = try other.keyPEM()
        }
        #expect(wrong?.reason.hasPrefix("tls.key is not the key of tls.cert: ") == true && wrong?.cause == .options)
        let missing = try failure { $0.certificate = try one.pem() }
        #expect(missing?.reason.hasPrefix("tls.key has no private key in PEM form") == true)
        #expect(try failure { $0.key = try one.keyPEM() }?.reason == "tls.key needs tls.cert")
        #expect(
            try failure { $0.certificate = try one.keyPEM() }?.reason == "tls.cert has no certificate in PEM form")
    }

    @Test func aBrokenOrRefusedIssuerIsNotLeftOut() throws {
        let (identity, issuer) = (try TestCertificate("client"), try TestCertificate("issuer").pem())
        let weak = try TestCertificate("weak", rsaBits: 1024).pem()
        func reason(_ chain: String) throws -> String? {
            let failure = try failure {
                $0.certificate = chain
                $0.key = try identity.keyPEM()
            }
            #expect(failure?.cause == .options)
            return failure?.reason
        }
        let own = try identity.pem()
        #expect(try reason(own + issuer + weak)?.hasPrefix("tls.cert can't be used: ") == true)
        #expect(try reason(own + issuer.dropLast(40)) == "tls.cert has a broken certificate")
        #expect(try reason(own + issuer + "-----BEGIN CERT") == "tls.cert has a broken certificate")
        #expect(try reason(String(own.dropLast(40))) == "tls.cert has a broken certificate")
    }

    @Test func theSystemsCertificatesAreReadOnceForAllContexts() throws {
        func store(_ change: (inout Options.TLS) -> Void) throws -> OpaquePointer? {
            let context = try make {
                $0.ca = nil
                change(&$0)
            }
            return SSL_CTX_get_cert_store(context.context)
        }
        // Kept, so that no later store has its address.
        let trust = try TrustStore.current(nil)
        #expect(try store { $0.verifies = false } == trust.store)
        #expect(try store { $0.ciphers = "TLS_AES_128_GCM_SHA256" } == trust.store)
    }

    @Test func anEncryptedKeyNeedsThePassword() throws {
        let identity = try TestCertificate()
        func options(_ options: inout Options.TLS, _ password: String?) throws {
            options.certificate = try identity.pem()
            options.key = try identity.keyPEM(password: "secret")
            options.password = password
        }
        _ = try make { try options(&$0, "secret") }
        #expect(try failure { try options(&$0, nil) }?.reason == "tls.key is encrypted: give tls.password")
        #expect(
            try failure { try options(&$0, "wrong") }?.reason
                == "tls.key can't be decrypted: tls.password is wrong")
    }

    @Test func ciphersAreNamesThatOpenSSLHas() throws {
        _ = try make { $0.ciphers = "TLS_AES_128_GCM_SHA256 ECDHE-RSA-AES128-GCM-SHA256" }
        for ciphers in ["nonsense", "TLS_NONSENSE"] {
            let failure = try failure { $0.ciphers = ciphers }
            #expect(failure?.reason.hasPrefix("tls.ciphers '\(ciphers)' can't be used: ") == true)
        }
        // Without certificates there would be nothing to verify.
        #expect(try failure { $0.ciphers = "aNULL" } != nil)
    }

    @Test func aContextOfFilesNoticesTheirChange() throws {
        let folder = try TestFolder()
        let identity = try TestCertificate()
        let (certificate, key) = (
            try folder.write("c.pem", identity.pem()), try folder.write("k.pem", identity.keyPEM())
        )
        let context = try make {
            $0.certificate = certificate
            $0.key = key
        }
        #expect(context.dependsOnFiles && context.matchesFiles())
        let other = try TestCertificate()
        try folder.write("c.pem", other.pem())
        #expect(!context.matchesFiles())
        let text = try make { _ in }
        #expect(!text.dependsOnFiles && text.matchesFiles())
    }

    @Test func aSessionOfTLS13IsOfferedOnce() throws {
        let context = try make { _ in }
        let session = try #require(SSL_SESSION_new())
        defer { SSL_SESSION_free(session) }
        SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION)
        for number in 0..<200 { context.storeSession(session, for: "\(number)") }
        context.storeSession(session, for: "server")
        func offers(_ server: String) -> Bool {
            let ssl = SSL_new(context.context)!
            defer { SSL_free(ssl) }
            context.resumeSession(ssl, for: server)
            return SSL_get_session(ssl) != nil
        }
        #expect(offers("server") && !offers("server"))
        #expect((0..<200).filter { offers("\($0)") }.count == 63, "no more are kept")
        SSL_SESSION_set_protocol_version(session, TLS1_2_VERSION)
        context.storeSession(session, for: "server")
        #expect(offers("server") && offers("server"))
    }
}
