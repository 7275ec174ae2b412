import COpenSSL
import CLinux
import Glibc
import Testing

@testable import WebSocketEngine

@Suite struct CertificateTests {
    /// Why a certificate is refused by those who trust these.
    private func error(
        _ certificate: TestCertificate, trusting trusted: [TestCertificate] = [], host: String? = "localhost",
        chain: [TestCertificate] = []
    ) -> String {
        let store = X509_STORE_new()
        defer { X509_STORE_free(store) }
        for trusted in trusted { X509_STORE_add_cert(store, trusted.certificate) }
        let stack = OPENSSL_sk_new_null()
        defer { OPENSSL_sk_free(stack) }
        for issuer in chain { OPENSSL_sk_push(stack, UnsafeRawPointer(issuer.certificate)) }
        let context = X509_STORE_CTX_new()!
        defer { X509_STORE_CTX_free(context) }
        X509_STORE_CTX_init(context, store, certificate.certificate, stack)
        if let host { X509_VERIFY_PARAM_set1_host(X509_STORE_CTX_get0_param(context), host, 0) }
        guard X509_verify_cert(context) != 1 else { return "" }
        return Certificate.verifyError(context, expected: host)
    }

    @Test func theCheckThatFailedIsNamed() throws {
        let good = try TestCertificate("good")
        #expect(error(good, trusting: [good]) == "")
        #expect(
            error(good) == "the server's certificate (CN=good) is self-signed and not trusted; "
                + "if it is the right one, give it as tls.ca")
        let expired = try TestCertificate("old", days: -2 ... -1)
        #expect(error(expired, trusting: [expired]).hasPrefix("the server's certificate (CN=old) expired on 20"))
        let early = try TestCertificate("early", days: 1...2)
        let words = error(early, trusting: [early])
        #expect(
            words.hasPrefix("the server's certificate (CN=early) is not valid before 20") && words.hasSuffix(" UTC"))
        let orphan = try TestCertificate("orphan", issuer: good)
        #expect(error(orphan).contains("is not trusted: its issuer (CN=good) is none of the known CAs"))
        #expect(error(orphan, chain: [good]).hasPrefix("the CA certificate (CN=good) is not trusted"))
    }

    @Test func aClientsCertificateIsNamedSo() throws {
        let stranger = try TestCertificate("stranger")
        #expect(
            error(stranger, host: nil) == "the client's certificate (CN=stranger) is self-signed and not trusted; "
                + "if it is the right one, give it as tls.ca")
    }

    @Test func anotherNameIsToldWithThoseOfTheCertificate() throws {
        let named = try TestCertificate("named", names: "DNS:a.example,IP:10.1.2.3,IP:::1")
        #expect(
            error(named, trusting: [named], host: "b.example")
                == "the server's certificate (CN=named) is not for b.example; it is for a.example, 10.1.2.3, ::1")
        let nameless = try TestCertificate("nameless", names: "")
        #expect(error(nameless, trusting: [nameless], host: "b.example").hasSuffix("; it names no host"))
        let many = try TestCertificate("many", names: (1...13).map { "DNS:h\($0).example" }.joined(separator: ","))
        #expect(error(many, trusting: [many], host: "b.example").hasSuffix("h9.example, h10.example, 3 more"))
    }

    @Test func aSubjectOfControlCharactersIsShownHarmless() throws {
        let evil = try TestCertificate("evil\u{1B}[31m\n")
        #expect(!error(evil).contains("\u{1B}") && !error(evil).contains("\n"))
    }

    @Test func theDigestIsThatOfTheKey() throws {
        let identity = try TestCertificate()
        let digest = try #require(Certificate.publicKeyDigest(identity.certificate))
        #expect(digest.utf8.count == 44 && digest.hasSuffix("="))
        let other = try TestCertificate()
        #expect(Certificate.publicKeyDigest(other.certificate) != digest)
        // A new certificate of the same key has the same pin.
        let renewed = X509_dup(identity.certificate)
        defer { X509_free(renewed) }
        X509_gmtime_adj(X509_getm_notAfter(renewed), 86400 * 100)
        X509_sign(renewed, identity.key, nil)
        #expect(renewed.flatMap(Certificate.publicKeyDigest) == digest)
    }
}
