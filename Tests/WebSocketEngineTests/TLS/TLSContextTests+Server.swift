import COpenSSL
import Testing

@testable import WebSocketEngine

extension TLSContextTests {
    private func failure(_ change: (inout Options.TLS) throws -> Void) throws -> TLSFailure? {
        var options = Options.TLS()
        options.role = .server
        try change(&options)
        return #expect(throws: TLSFailure.self) { try TLSContext.make(options) }
    }

    @Test func aServerNeedsACertificateAndItsKey() throws {
        let (one, other) = (try TestCertificate("one"), try TestCertificate("other"))
        let missing = try failure { _ in }
        #expect(missing?.reason == "tls.cert is missing" && missing?.cause == .options)
        #expect(try failure { $0.key = try one.keyPEM() }?.reason == "tls.cert is missing")
        #expect(
            try failure { $0.certificate = try one.pem() }?.reason.hasPrefix("tls.key has no private key in PEM form")
                == true)
        let wrong = try failure {
            $0.certificate = try one.pem()
            $0.key = try other.keyPEM()
        }
        #expect(wrong?.reason.hasPrefix("tls.key is not the key of tls.cert: ") == true)
        let badCA = try failure {
            $0.certificate = try one.pem() + one.keyPEM()
            $0.ca = "/dev/null/none"
        }
        #expect(badCA?.reason.hasPrefix("the file '/dev/null/none' of tls.ca can't be read: ") == true)
        _ = try TLSContext.server(one) { $0.ciphers = "TLS_AES_128_GCM_SHA256" }
    }

    @Test func aServerAsksForCertificatesOnlyWithCAs() throws {
        let identity = try TestCertificate()
        func hasCAs(_ context: TLSContext) -> Bool {
            let certificates = X509_STORE_get1_all_certs(SSL_CTX_get_cert_store(context.context))
            defer {
                while let certificate = OPENSSL_sk_pop(certificates) { X509_free(OpaquePointer(certificate)) }
                OPENSSL_sk_free(certificates)
            }
            return OPENSSL_sk_num(certificates) > 0
        }
        let open = try TLSContext.server(identity)
        #expect(SSL_CTX_get_verify_mode(open.context) == SSL_VERIFY_NONE && !hasCAs(open))
        #expect(!open.dependsOnFiles && open.matchesFiles())
        let closed = try TLSContext.server(identity, clientCA: try TestCertificate().pem())
        #expect(
            SSL_CTX_get_verify_mode(closed.context) == SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                && hasCAs(closed))
        #expect(!closed.dependsOnFiles && closed.matchesFiles())
    }

    @Test func aServersContextNoticesTheChangeOfEachFile() throws {
        let folder = try TestFolder()
        let (identity, ca) = (try TestCertificate(), try TestCertificate())
        let files = (
            certificate: try folder.write("c.pem", identity.pem()), key: try folder.write("k.pem", identity.keyPEM()),
            ca: try folder.write("ca.pem", ca.pem())
        )
        func context() throws -> TLSContext {
            try TLSContext.server(identity, clientCA: files.ca) {
                $0.certificate = files.certificate
                $0.key = files.key
            }
        }
        for (name, text) in [
            ("c.pem", try identity.pem()), ("k.pem", try identity.keyPEM()), ("ca.pem", try ca.pem()),
        ] {
            let context = try context()
            #expect(context.dependsOnFiles && context.matchesFiles())
            try folder.write(name, text)
            #expect(!context.matchesFiles(), "\(name)")
        }
    }
}
