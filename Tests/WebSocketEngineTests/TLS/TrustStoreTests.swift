import COpenSSL
import CLinux
import Glibc
import Testing

@testable import WebSocketEngine

@Suite struct TrustStoreTests {
    /// Whether a store trusts a certificate.
    private static func trusts(_ trust: TrustStore, _ certificate: TestCertificate) -> Bool {
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
        #expect(Self.trusts(store, one) && !Self.trusts(store, other))
        #expect(Self.trusts(both, one) && Self.trusts(both, other))
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
        #expect(second !== first && Self.trusts(second, new) && !Self.trusts(second, old))
        unlink(file)
        #expect(throws: TLSFailure.self) { try TrustStore.current(file) }
    }

    @Test func aFoldersFilesAreAllTrusted() throws {
        let (one, other) = (try TestCertificate("one"), try TestCertificate("other"))
        let folder = try TestFolder()
        let failure = #expect(throws: TLSFailure.self) { try TrustStore.current(folder.path) }
        #expect(failure?.reason == "the folder '\(folder.path)' of tls.ca has no certificates")
        try folder.write("one.pem", one.pem())
        // A file of something else does not spoil the others.
        try folder.write("key.pem", one.keyPEM())
        let first = try TrustStore.current(folder.path)
        #expect(Self.trusts(first, one) && !Self.trusts(first, other))
        try folder.write("other.pem", other.pem())
        let second = try TrustStore.current(folder.path)
        #expect(Self.trusts(second, one) && Self.trusts(second, other))
    }

    @Test func aFolderWithABrokenFileIsRefused() throws {
        let certificate = try TestCertificate()
        let folder = try TestFolder()
        try folder.write("a.pem", certificate.pem())
        let broken = try folder.write("b.pem", certificate.pem() + certificate.pem().dropLast(40))
        let failure = #expect(throws: TLSFailure.self) { try TrustStore.current(folder.path) }
        #expect(failure?.reason == "the file '\(broken)' of tls.ca has a broken certificate")
        #expect(failure?.cause == .options)
    }

    @Test func ofASystemsFileThatIsBrokenNothingIsTrusted() async throws {
        await #expect(processExitsWith: .success) {
            let (good, inBroken) = (try TestCertificate("good"), try TestCertificate("broken"))
            let folder = try TestFolder()
            let file = try folder.write("bundle", inBroken.pem() + inBroken.pem().dropLast(40))
            setenv("SSL_CERT_FILE", file, 1)
            setenv("SSL_CERT_DIR", folder.path, 1)
            let failure = #expect(throws: TLSFailure.self) { try TrustStore.current(nil) }
            #expect(failure?.reason == "the file '\(file)' has a broken certificate" && failure?.cause == .temporary)
            try folder.write("good.pem", good.pem())
            let store = try TrustStore.current(nil)
            #expect(Self.trusts(store, good) && !Self.trusts(store, inBroken))
            try folder.write("more.pem", inBroken.pem())
            #expect(try TrustStore.current(nil) === store, "the system's files are read once")
        }
    }

    @Test func aStoreMatchesItsFilesUntilTheyChange() throws {
        let folder = try TestFolder()
        let file = try folder.write("ca.pem", TestCertificate().pem())
        let store = try TrustStore.current(file)
        #expect(store.matchesFiles(of: file))
        for text in ["", "-----BEGIN CERT", try TestCertificate().pem()] {
            try folder.write("ca.pem", text)
            #expect(!store.matchesFiles(of: file))
        }
        unlink(file)
        #expect(!store.matchesFiles(of: file))
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
