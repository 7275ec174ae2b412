import COpenSSL
import CLinux
import Glibc
import Testing

@testable import WebSocketEngine

@Suite struct PEMTests {
    /// How many certificates a text has, and whether nothing else in it looks like one.
    private func count(_ text: String) throws -> (count: Int, isAtEnd: Bool) {
        let folder = try TestFolder()
        let pem = try PEM(folder.write("a.pem", text), "a")
        defer { ERR_clear_error() }
        var count = 0
        while let certificate = try pem.nextCertificate() {
            X509_free(certificate)
            count += 1
        }
        return (count, pem.isAtEnd && !pem.hasBrokenBeginning)
    }

    @Test func certificatesAreReadOneAfterAnother() throws {
        let text = try TestCertificate().pem()
        #expect(try count(text) == (1, true))
        #expect(try count("a comment\n" + text + "between\n" + text) == (2, true))
        #expect(try count("") == (0, true))
        let lines = text.split(separator: "\n")
        let broken = lines[0] + "\n!!!!\n" + lines.dropFirst(2).joined(separator: "\n")
        #expect(try count(text + broken) == (1, false))
    }

    @Test func aCertificateThatOpenSSLWouldSkipIsBroken() throws {
        let text = try TestCertificate().pem()
        for skipped in [
            " " + text, "\t" + text, text.replacing("CERTIFICATE-----", with: "CERTIFICATE----"),
            "-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIF", "---",
        ] {
            #expect(try count(text + skipped) == (1, false), "\(skipped)")
        }
        let comment = "# " + text.split(separator: "\n").joined(separator: "\n# ") + "\n---\n"
        #expect(try count(comment + text.replacing("\n", with: " \r\n")) == (1, true))
    }

    @Test func anEncryptedKeyNeedsItsPassword() throws {
        let identity = try TestCertificate()
        for (password, given, isFound, isEncrypted) in [
            (nil, nil, true, false), (nil, "unused", true, false), ("secret", "secret", true, true),
            ("secret", nil, false, true), ("secret", "wrong", false, true),
            ("secret", String(repeating: "x", count: 5000), false, true),
        ] as [(String?, String?, Bool, Bool)] {
            let pem = try PEM(try identity.keyPEM(password: password), "a")
            let (key, wasAsked) = pem.privateKey(password: given)
            #expect((key != nil) == isFound && wasAsked == isEncrypted, "\(password ?? "-") \(given ?? "-")")
            EVP_PKEY_free(key)
            ERR_clear_error()
        }
    }

    @Test func anErrorNamesAFileButNeverShowsASecret() throws {
        #expect(PEM.name("/etc/a.pem", "tls.key") == "the file '/etc/a.pem' of tls.key")
        #expect(PEM.name(try TestCertificate().keyPEM(), "tls.key") == "tls.key")
        // The first line was forgotten.
        #expect(PEM.name("MC4CAQAwBQYDK2VwBCIEI\n", "tls.key") == "tls.key")
    }

    @Test func contentIsTheTextOrTheFile() throws {
        let folder = try TestFolder()
        let text = try TestCertificate().pem()
        for option in [text, try folder.write("a.pem", text)] {
            let pem = try PEM(option, "a")
            for _ in 0..<2 {
                let certificate = try #require(try pem.nextCertificate())
                X509_free(certificate)
                pem.rewind()
            }
        }
    }

    @Test func whatIsNoRegularFileIsRefusedWithoutWaiting() throws {
        let folder = try TestFolder()
        let pipe = "\(folder.path)/pipe"
        try #require(mkfifo(pipe, 0o600) == 0)
        for (path, words) in [
            (pipe, "Invalid argument"), (folder.path, "Is a directory"),
            ("\(folder.path)/none", "No such file or directory"),
        ] {
            let failure = #expect(throws: TLSFailure.self) { try PEM(path, "tls.ca") }
            #expect(failure?.reason == "tls.ca can't be read: \(words)" && failure?.cause == .options)
        }
    }

    @Test func aFileThatIsTooLargeIsRefused() throws {
        let folder = try TestFolder()
        let file = try folder.write("large.pem", "")
        try #require(truncate(file, 1 << 30) == 0)
        let failure = #expect(throws: TLSFailure.self) { try PEM(file, "tls.ca") }
        #expect(failure?.reason == "tls.ca can't be read: File too large")
        // No part of a text is left out either.
        let text = "-----BEGIN " + String(repeating: String(repeating: "\n", count: 1 << 10), count: 16 << 10)
        let refused = #expect(throws: TLSFailure.self) { _ = try PEM(text, "tls.ca") }
        #expect(refused?.reason == "tls.ca is too large: \(text.utf8.count) bytes" && refused?.cause == .options)
    }

    @Test func aFolderHasItsHashedFilesOrThoseNamedAsCertificates() throws {
        let folder = try TestFolder()
        #expect(try PEM.certificateFiles(inFolder: folder.path) == [])
        for name in ["b.pem", "a.crt", "c.cer", "README", "0a1b2c3d.r0"] { try folder.write(name, "") }
        #expect(
            try PEM.certificateFiles(inFolder: folder.path)
                == ["a.crt", "b.pem", "c.cer"].map { "\(folder.path)/\($0)" })
        for name in ["0a1b2c3d.0", "0a1b2c3d.1"] { try folder.write(name, "") }
        #expect(
            try PEM.certificateFiles(inFolder: folder.path)
                == ["0a1b2c3d.0", "0a1b2c3d.1"].map { "\(folder.path)/\($0)" })
        #expect(try PEM.certificateFiles(inFolder: "\(folder.path)/b.pem") == nil)
        #expect(try PEM.certificateFiles(inFolder: "\(folder.path)/none") == nil)
    }
}
