import COpenSSL
import CLinux
import Glibc
import Testing

@testable import WebSocketEngine

@Suite struct TrustStoreTests {
    /// Whether a store trusts a certificate.
    private func trusts(_ trust: TrustStore, _ certificate: TestCertificate) -> Bool {
        let context = X509_STORE_CTX_new()
        defer { X509_STORE_CTX_free(context) }
        X509_STORE_CTX_init(context, trust.store, certificate.certificate, nil)
        return X509_verify_cert(context) == 1
    }

    @Test func equalTextsShareOneStore() throws {
        let (one, other) = (try TestCertificate("one"), try TestCertificate("other"))
        let text = try one.pem()
        let store = try TrustStore.current(text)
        #expect(try TrustStore.current(text) === store)
        let both = try TrustStore.current(text + other.pem())
        #expect(both !== store)
        #expect(trusts(store, one) && !trusts(store, other))
        #expect(trusts(both, one) && trusts(both, other))
    }

    @Test func aFileIsReadAgainOnlyWhenItHasChanged() throws {
        let (old, new) = (try TestCertificate("old"), try TestCertificate("new"))
        let folder = try TestFolder()
        let file = try folder.write("ca.pem", old.pem())
        let first = try TrustStore.current(file)
        #expect(try TrustStore.current(file) === first)
        // Another file of the same name, as those who replace certificates do it.
        rename(try folder.write("new.pem", new.pem()), file)
        let second = try TrustStore.current(file)
        #expect(second !== first && trusts(second, new) && !trusts(second, old))
        unlink(file)
        #expect(throws: TLSFailure.self) { try TrustStore.current(file) }
    }

    @Test func aFoldersFilesAreAllTrusted() throws {
        let (one, other) = (try TestCertificate("one"), try TestCertificate("other"))
        let folder = try TestFolder()
        let failure = #expect(throws: TLSFailure.self) { try TrustStore.current(folder.path) }
        #expect(failure?.reason == "the folder '\(folder.path)' of tls.ca has no certificates")
        try folder.write("one.pem", one.pem())
        // One that can't be used does not spoil the others.
        try folder.write("broken.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")
        let first = try TrustStore.current(folder.path)
        #expect(trusts(first, one) && !trusts(first, other))
        try folder.write("other.pem", other.pem())
        let second = try TrustStore.current(folder.path)
        #expect(trusts(second, one) && trusts(second, other))
    }

    @Test func aTextWithoutOrWithABrokenCertificateIsRefused() throws {
        let key = try TestCertificate().keyPEM()
        let none = #expect(throws: TLSFailure.self) { try TrustStore.current(key) }
        #expect(none?.reason == "tls.ca has no certificate in PEM form" && none?.cause == .options)
        let text = try TestCertificate().pem()
        let broken = #expect(throws: TLSFailure.self) {
            try TrustStore.current(text + "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")
        }
        #expect(broken?.reason == "tls.ca has a broken certificate")
    }

    @Test func onlyFilesOfTheOptionCanChange() throws {
        #expect(TrustStore.isFixed(nil))
        #expect(TrustStore.isFixed(try TestCertificate().pem()))
        #expect(!TrustStore.isFixed("/etc/ca.pem"))
    }
}
