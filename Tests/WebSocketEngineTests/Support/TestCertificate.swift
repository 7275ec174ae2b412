// Certificates and keys for the tests, made in memory, and servers that show them.

import COpenSSL
import CLinux
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

/// A certificate and its key. Signed by itself unless there is an issuer.
final class TestCertificate {
    /// An X509.
    let certificate: OpaquePointer
    /// An EVP_PKEY.
    let key: OpaquePointer

    /// - Parameters:
    ///   - subject: its common name.
    ///   - names: as OpenSSL writes alternative names, `DNS:localhost,IP:127.0.0.1`.
    ///   - days: when it begins and ends, from now.
    ///   - rsaBits: the size of its key; nil: the key is of Ed25519.
    ///   - usage: as OpenSSL writes extended key usages, `serverAuth`; nil: any.
    ///   - isCA: others can have it as their issuer.
    init(
        _ subject: String = "test", names: String = "DNS:localhost,IP:127.0.0.1", days: ClosedRange<Int> = 0...1,
        rsaBits: Int32? = nil, usage: String? = nil, isCA: Bool = false, issuer: TestCertificate? = nil
    ) throws {
        let maker = EVP_PKEY_CTX_new_from_name(nil, rsaBits == nil ? "ED25519" : "RSA", nil)
        defer { EVP_PKEY_CTX_free(maker) }
        var made: OpaquePointer?
        EVP_PKEY_keygen_init(maker)
        if let rsaBits { EVP_PKEY_CTX_set_rsa_keygen_bits(maker, rsaBits) }
        EVP_PKEY_generate(maker, &made)
        key = try #require(made)
        certificate = try #require(X509_new())
        X509_set_version(certificate, 2)
        ASN1_INTEGER_set(X509_get_serialNumber(certificate), Int.random(in: 1 ... .max))
        X509_gmtime_adj(X509_getm_notBefore(certificate), days.lowerBound * 86400)
        X509_gmtime_adj(X509_getm_notAfter(certificate), days.upperBound * 86400)
        X509_set_pubkey(certificate, key)
        let name = X509_get_subject_name(certificate)
        X509_NAME_add_entry_by_txt(name, "CN", 0x1000 | 1, subject, -1, -1, 0)
        X509_set_issuer_name(certificate, issuer.map { X509_get_subject_name($0.certificate) } ?? name)
        let extensions = [
            (NID_subject_alt_name, names.isEmpty ? nil : names), (NID_ext_key_usage, usage),
            (NID_basic_constraints, isCA ? "critical,CA:TRUE" : nil),
        ]
        for case (let kind, let value?) in extensions {
            let made = try #require(X509V3_EXT_conf_nid(nil, nil, kind, value))
            X509_add_ext(certificate, made, -1)
            X509_EXTENSION_free(made)
        }
        let signer = issuer?.key ?? key
        // Ed25519 has its own digest.
        let digest = EVP_PKEY_is_a(signer, "RSA") == 1 ? EVP_sha256() : nil
        try #require(X509_sign(certificate, signer, digest) > 0)
    }

    deinit {
        X509_free(certificate)
        EVP_PKEY_free(key)
    }

    private func text(_ write: (OpaquePointer?) -> Int32) throws -> String {
        let bio = BIO_new(BIO_s_mem())
        defer { BIO_free(bio) }
        try #require(write(bio) == 1)
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        let count = BIO_read(bio, &bytes, Int32(bytes.count))
        return String(decoding: bytes.prefix(Int(max(count, 0))), as: UTF8.self)
    }

    func pem() throws -> String { try text { PEM_write_bio_X509($0, certificate) } }

    func keyPEM(password: String? = nil) throws -> String {
        try text { bio in
            guard let password else { return PEM_write_bio_PKCS8PrivateKey(bio, key, nil, nil, 0, nil, nil) }
            return password.withCString {
                PEM_write_bio_PKCS8PrivateKey(bio, key, EVP_aes_128_cbc(), $0, Int32(password.utf8.count), nil, nil)
            }
        }
    }

    /// The Base64 of the SHA-256 of its key, as the option `tls.pin` has it.
    var pin: String { Certificate.publicKeyDigest(certificate) ?? "" }
}

/// A server's TLS on a socket, as the test says: all on one thread.
final class TLSPeer {
    /// An SSL.
    let ssl: OpaquePointer
    private let peer: Peer

    init(_ peer: Peer, _ identity: TestCertificate) throws {
        self.peer = peer
        let context = try #require(SSL_CTX_new(TLS_server_method()))
        defer { SSL_CTX_free(context) }
        SSL_CTX_use_certificate(context, identity.certificate)
        SSL_CTX_use_PrivateKey(context, identity.key)
        ssl = try #require(SSL_new(context))
        SSL_set_fd(ssl, peer.descriptor)
        SSL_set_accept_state(ssl)
    }

    deinit { SSL_free(ssl) }

    /// Runs the loop until `condition` holds, with a step of the handshake each time.
    func run(_ loop: TestLoop, until condition: () -> Bool, sourceLocation: SourceLocation = #_sourceLocation) throws {
        try loop.run(
            until: {
                ERR_clear_error()
                SSL_do_handshake(ssl)
                return condition()
            }, sourceLocation: sourceLocation)
    }

    func acceptHandshake(_ loop: TestLoop, sourceLocation: SourceLocation = #_sourceLocation) throws {
        var request: [UInt8] = []
        try run(
            loop,
            until: {
                var bytes = [UInt8](repeating: 0, count: 4096)
                var count = 0
                while SSL_read_ex(ssl, &bytes, bytes.count, &count) == 1 { request += bytes[..<count] }
                return request.suffix(4) == [13, 10, 13, 10]
            }, sourceLocation: sourceLocation)
        let response = Array(Peer.response(to: String(decoding: request, as: UTF8.self)).utf8)
        var count = 0
        #expect(SSL_write_ex(ssl, response, response.count, &count) == 1)
    }
}
