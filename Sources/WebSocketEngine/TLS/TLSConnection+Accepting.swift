// TLSConnection as the server: the client's certificate, and why a handshake with a client failed. On the thread that runs the
// loop.

import COpenSSL

extension TLSConnection {
    /// - Parameters:
    ///   - context: of the role `server`.
    ///   - socket: an accepted one. It stays the caller's, and must outlive this object.
    convenience init(accepting context: TLSContext, socket: Int32) throws(TLSFailure) {
        assert(context.options.role == .server)
        try self.init(context, to: .client, socket: socket)
        SSL_set_accept_state(ssl)
    }

    /// OpenSSL has been set to check that the certificate is one for clients.
    func verifyClient(_ store: OpaquePointer) -> Bool {
        isCertificateAccepted = X509_verify_cert(store) == 1
        if !isCertificateAccepted { refusal = TLSFailure(reason: Certificate.verifyError(store, expected: nil)) }
        return isCertificateAccepted
    }

    /// Why the handshake with a client failed, in words; nil: OpenSSL's words are clear.
    /// - Parameter reason: OpenSSL's number.
    static func handshakeFailure(_ reason: Int32) -> String? {
        switch reason {
        case SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST:
            return "the client does not speak TLS: it sent a plain HTTP request"
        case SSL_R_WRONG_VERSION_NUMBER: return "the client does not speak TLS"
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return "the client has not shown a certificate"
        // An alert of the client's (RFC 8446 section 6).
        case SSL_AD_REASON_OFFSET...SSL_AD_REASON_OFFSET + 0xFF:
            let alert = reason - SSL_AD_REASON_OFFSET
            let words = String(cString: SSL_alert_desc_string_long(alert))
            return certificateAlerts.contains(alert)
                ? "the client refused our certificate: \(words)" : "the client broke off the TLS handshake: \(words)"
        default: return nil
        }
    }

    /// The alerts that are about the server's certificate.
    private static let certificateAlerts = [
        SSL_AD_BAD_CERTIFICATE, SSL_AD_UNSUPPORTED_CERTIFICATE, SSL_AD_CERTIFICATE_REVOKED, SSL_AD_CERTIFICATE_EXPIRED,
        SSL_AD_CERTIFICATE_UNKNOWN, SSL_AD_UNKNOWN_CA,
    ]

    /// For the `debug` function. A resumed session has the certificate that was verified when it began.
    var clientCertificateDescription: String {
        guard let certificate = SSL_get0_peer_certificate(ssl) else { return "no client certificate" }
        return "client certificate \(Certificate.name(X509_get_subject_name(certificate)))"
    }

    var peerName: String {
        switch peer {
        case .server: "server"
        case .client: "client"
        }
    }
}
