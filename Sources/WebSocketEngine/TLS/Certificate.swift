// What an error message says of a certificate: which one was refused, by which check, and for which names it is.
// TLSConnection calls it within the handshake, on the thread that runs the loop.

import COpenSSL
import CLinux
import Glibc
import WebSocketProtocol

enum Certificate {
    /// Why a chain was refused: continues an error message behind the URL.
    /// - Parameter expected: the name or address that the server's certificate must have; nil: it is a client's.
    static func verifyError(_ store: OpaquePointer, expected: String?) -> String {
        let error = X509_STORE_CTX_get_error(store)
        let certificate = X509_STORE_CTX_get_current_cert(store) ?? X509_STORE_CTX_get0_cert(store)
        let own = expected == nil ? "the client's certificate" : "the server's certificate"
        let which = X509_STORE_CTX_get_error_depth(store) == 0 ? own : "the CA certificate"
        let subject = "\(which) (\(name(X509_get_subject_name(certificate))))"
        switch error {
        case X509_V_ERR_CERT_HAS_EXPIRED:
            return "\(subject) expired on \(time(X509_get0_notAfter(certificate)))"
        case X509_V_ERR_CERT_NOT_YET_VALID:
            return "\(subject) is not valid before \(time(X509_get0_notBefore(certificate)))"
        case X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH:
            let names = names(of: certificate)
            return "\(subject) is not for \(expected ?? ""); "
                + (names.isEmpty ? "it names no host" : "it is for \(names.joined(separator: ", "))")
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
            return "\(subject) is self-signed and not trusted; if it is the right one, give it as tls.ca"
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
            return "\(subject) is not trusted: it is none of the known CAs; if it is the right one, give it as tls.ca"
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT,
            X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
            return "\(subject) is not trusted: its issuer (\(name(X509_get_issuer_name(certificate)))) is none of the "
                + "known CAs; if it is the right one, give it as tls.ca"
        case X509_V_ERR_EE_KEY_TOO_SMALL, X509_V_ERR_CA_KEY_TOO_SMALL:
            let bits = EVP_PKEY_get_bits(X509_get0_pubkey(certificate))
            return "the key of \(subject) is too weak: \(bits) bits"
        case X509_V_ERR_CA_MD_TOO_WEAK: return "the signature of \(subject) is too weak"
        default: return "\(subject) was refused: \(String(cString: X509_verify_cert_error_string(Int(error))))"
        }
    }

    /// Whether OpenSSL has read the certificate without its key for lack of memory. It does not say so; a copy has the key then.
    static func hasLostKey(_ certificate: OpaquePointer) -> Bool {
        guard X509_get0_pubkey(certificate) == nil else { return false }
        defer { ERR_clear_error() }
        guard let copy = X509_dup(certificate) else { return true }
        defer { X509_free(copy) }
        return X509_get0_pubkey(copy) != nil
    }

    /// Whether a chain was refused because none of the known CAs has issued it.
    static func isIssuerUnknown(_ error: Int32) -> Bool {
        [
            X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
            X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT,
            X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
        ].contains(error)
    }

    /// The SHA-256 of a certificate's SubjectPublicKeyInfo in Base64 (RFC 7469 section 2.4).
    static func publicKeyDigest(_ certificate: OpaquePointer) -> String? {
        var bytes: UnsafeMutablePointer<UInt8>?
        let count = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &bytes)
        guard count > 0, let bytes else { return nil }
        defer { CRYPTO_free(bytes, nil, 0) }
        var digest = [UInt8](repeating: 0, count: Int(SHA256_DIGEST_LENGTH))
        SHA256(bytes, Int(count), &digest)
        return base64(digest)
    }

    /// RFC 4514: `CN=example.com,O=Example`.
    static func name(_ name: OpaquePointer?) -> String {
        let bio = BIO_new(BIO_s_mem())
        defer { BIO_free(bio) }
        let flags = WS_XN_FLAG_RFC2253 & ~UInt(ASN1_STRFLGS_ESC_MSB)
        guard let name, X509_NAME_print_ex(bio, name, 0, flags) >= 0 else { return "without a name" }
        var bytes = [UInt8](repeating: 0, count: 512)
        let count = BIO_read(bio, &bytes, Int32(bytes.count))
        guard count > 0 else { return "without a name" }
        return quotedForError(String(decoding: bytes.prefix(Int(count)), as: UTF8.self))
    }

    /// `2026-11-23 14:36:00 UTC`
    private static func time(_ time: UnsafePointer<ASN1_TIME>?) -> String {
        var parts = tm()
        guard ASN1_TIME_to_tm(time, &parts) == 1 else { return "an unknown date" }
        func padded(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(1900 + parts.tm_year)-\(padded(parts.tm_mon + 1))-\(padded(parts.tm_mday)) "
            + "\(padded(parts.tm_hour)):\(padded(parts.tm_min)):\(padded(parts.tm_sec)) UTC"
    }

    /// The subject's alternative names, hosts and addresses: the first ten and the number of the others.
    private static func names(of certificate: OpaquePointer?) -> [String] {
        guard let extensions = X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil) else { return [] }
        let stack = OpaquePointer(extensions)
        var names: [String] = []
        for index in 0..<OPENSSL_sk_num(stack) {
            let entry = OPENSSL_sk_value(stack, index)!.assumingMemoryBound(to: GENERAL_NAME.self)
            defer { GENERAL_NAME_free(entry) }
            switch entry.pointee.type {
            case GEN_DNS:
                names.append(quotedForError(String(decoding: bytes(of: entry.pointee.d.dNSName), as: UTF8.self)))
            case GEN_IPADD:
                let address = bytes(of: entry.pointee.d.iPAddress)
                var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
                let family = address.count == 4 ? AF_INET : AF_INET6
                guard address.count == 4 || address.count == 16,
                    inet_ntop(family, Array(address), &text, socklen_t(text.count)) != nil
                else { continue }
                names.append(String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self))
            default: break
            }
        }
        OPENSSL_sk_free(stack)
        let limit = 10
        return names.count > limit ? names.prefix(limit) + ["\(names.count - limit) more"] : names
    }

    private static func bytes(of string: UnsafeMutablePointer<ASN1_STRING>) -> UnsafeBufferPointer<UInt8> {
        UnsafeBufferPointer(start: ASN1_STRING_get0_data(string), count: Int(ASN1_STRING_length(string)))
    }
}
