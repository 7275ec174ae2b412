// OpenSSL's callbacks of a TLSConnection: the peer's certificate, a server's sessions, secrets for the key log. On the thread
// that runs the loop.

import COpenSSL
import WebSocketProtocol

extension TLSConnection {
    /// Sets the name that the certificate must have, and sends it to the server unless it is an address.
    func setExpectedName(_ name: String) throws(TLSFailure) {
        let parameters = SSL_get0_param(ssl)
        // RFC 9525: only the names in the certificate's extension count, not the subject's.
        X509_VERIFY_PARAM_set_hostflags(
            parameters, UInt32(X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
        guard X509_VERIFY_PARAM_set1_ip_asc(parameters, name) != 1 else { return }
        ERR_clear_error()
        // To OpenSSL "" means any name, and ".x" any name below x: both are refused, and wildcards with them.
        guard isHostName(name), !name.utf8.contains(UInt8(ascii: "*")),
            X509_VERIFY_PARAM_set1_host(parameters, name, 0) == 1
        else {
            throw TLSFailure(reason: "'\(quotedForError(name))' is no name that a certificate can have")
        }
        // RFC 6066 section 3: server_name has names, not addresses.
        _ = name.withCString {
            SSL_ctrl(
                ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, Int(TLSEXT_NAMETYPE_host_name), UnsafeMutableRawPointer(mutating: $0)
            )
        }
    }

    private static func connection(of ssl: OpaquePointer?) -> TLSConnection? {
        SSL_get_ex_data(ssl, 0).map { Unmanaged<TLSConnection>.fromOpaque($0).takeUnretainedValue() }
    }

    /// OpenSSL's verify callback: whether the handshake goes on with the peer's certificate chain.
    static func verify(_ store: OpaquePointer?) -> Bool {
        let ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx())
        guard let store, let connection = connection(of: ssl.map { OpaquePointer($0) }) else { return false }
        switch connection.peer {
        case .server(let name, _): return connection.verifyServer(store, name) && connection.verifyPins(store)
        case .client: return connection.verifyClient(store)
        }
    }

    private func verifyServer(_ store: OpaquePointer, _ name: String) -> Bool {
        guard X509_verify_cert(store) != 1 else { return true }
        let isMemoryShort = OpenSSLError.isOutOfMemory || Self.hasLostKey(X509_STORE_CTX_get0_untrusted(store))
        let reason = Certificate.verifyError(store, expected: name)
        guard !context.options.verifies else {
            let cause = isMemoryShort ? .temporary : cause(X509_STORE_CTX_get_error(store))
            refusal = TLSFailure(reason: reason, cause: cause)
            return false
        }
        ignoredVerifyError = reason
        X509_STORE_CTX_set_error(store, X509_V_OK)
        return true
    }

    private static func hasLostKey(_ certificates: OpaquePointer?) -> Bool {
        (0..<max(OPENSSL_sk_num(certificates), 0)).contains {
            Certificate.hasLostKey(OpaquePointer(OPENSSL_sk_value(certificates, $0)))
        }
    }

    private func cause(_ error: Int32) -> TLSFailure.Cause {
        switch error {
        case X509_V_ERR_OUT_OF_MEM, X509_V_ERR_STORE_LOOKUP: .temporary
        // The file that has the issuer may be missing or half written while it is replaced.
        case _ where Certificate.isIssuerUnknown(error) && !TrustStore.isFixed(context.options.ca): .options
        default: .permanent
        }
    }

    /// The pins count also without verification of the chain.
    private func verifyPins(_ store: OpaquePointer) -> Bool {
        let pins = context.options.pins
        guard !pins.isEmpty else {
            isCertificateAccepted = true
            return true
        }
        let digest = X509_STORE_CTX_get0_cert(store).flatMap(Certificate.publicKeyDigest)
        isCertificateAccepted = digest.map(pins.contains) ?? false
        guard !isCertificateAccepted else { return true }
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION)
        refusal = TLSFailure(
            reason: "the server's key does not match tls.pin: it is sha256//\(digest ?? "?")")
        return false
    }

    /// The server has given a session that a later connection can resume.
    static func storeSession(_ session: OpaquePointer?, of ssl: OpaquePointer?) {
        guard let connection = connection(of: ssl), let session, case .server(_, let sessionKey) = connection.peer
        else { return }
        connection.context.storeSession(session, for: sessionKey)
    }

    /// OpenSSL has made a secret, and SSLKEYLOGFILE is set.
    static func logSecret(_ line: UnsafePointer<CChar>?, of ssl: OpaquePointer?) {
        guard let connection = connection(of: ssl), let line else { return }
        connection.context.logSecret(line)
    }
}
