import COpenSSL
import CLinux
import Glibc
import TestSupport
import Testing

@testable import WebSocketEngine

@Suite struct OpenSSLErrorTests {
    @Test(.enabled(if: canExhaustMemory)) func aFailedAllocationIsFoundBehindTheErrorsOfAParser() async throws {
        await #expect(processExitsWith: .success) {
            // The certificate is copied as a whole, more than the memory that is left.
            let names = (0..<400).map { "DNS:\($0).a-name-that-is-long.example" }.joined(separator: ",")
            let certificate = try TestCertificate(names: names)
            var bytes: UnsafeMutablePointer<UInt8>?
            let count = i2d_X509(certificate.certificate, &bytes)
            var next = bytes.map { UnsafePointer($0) }
            ERR_clear_error()
            let (parsed, isOutOfMemory) = withoutMemory {
                (d2i_X509(nil, &next, Int(count)), OpenSSLError.isOutOfMemory)
            }
            #expect(parsed == nil && isOutOfMemory)
            #expect(OpenSSLError.takeReason() == "malloc failure")
            CRYPTO_free(bytes, nil, 0)
        }
    }

    @Test func otherErrorsAreNoFailedAllocation() {
        ERR_clear_error()
        #expect(!OpenSSLError.isOutOfMemory)
        let parsed = Array("no PEM".utf8).withUnsafeBytes { text in
            // Reads from the array itself.
            let bio = BIO_new_mem_buf(text.baseAddress, Int32(text.count))
            defer { BIO_free(bio) }
            return PEM_read_bio_X509(bio, nil, nil, nil)
        }
        #expect(parsed == nil)
        #expect(!OpenSSLError.isOutOfMemory && OpenSSLError.isLast(PEM_R_NO_START_LINE))
        #expect(OpenSSLError.firstReason == PEM_R_NO_START_LINE)
        ERR_clear_error()
    }
}
