// The server's part of a TLSContext: the certificates that it asks for, ALPN, and what clients need to resume sessions. On the
// thread that makes the context, except for OpenSSL's callback, which runs on the thread that runs the loop.

import COpenSSL

extension TLSContext {
    /// - Parameter clientCAs: clients must show a certificate of these; nil: they are asked for none.
    func setUpServer(clientCAs: TrustStore?) throws(TLSFailure) {
        // The certificates of the option are sent as they are, not completed with CAs of clients.
        SSL_CTX_ctrl(context, SSL_CTRL_MODE, Int(SSL_MODE_NO_AUTO_CHAIN), nil)
        SSL_CTX_set_alpn_select_cb(
            context,
            { _, selected, length, offered, count, _ in
                TLSContext.selectProtocol(UnsafeBufferPointer(start: offered, count: Int(count)), selected, length)
            }, nil)
        // Sessions are in the clients' tickets (RFC 8446 section 4.6.1, RFC 5077): the server keeps none. A session resumed
        // from a ticket has the client's certificate; OpenSSL then requires a session id context.
        SSL_CTX_ctrl(context, SSL_CTRL_SET_SESS_CACHE_MODE, Int(SSL_SESS_CACHE_OFF), nil)
        let name = Array("websocket".utf8)
        SSL_CTX_set_session_id_context(context, name, UInt32(name.count))
        guard let clientCAs else { return }
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
        try sendNames(of: clientCAs)
    }

    /// Chooses http/1.1 if the client offers it (RFC 7301). Otherwise the handshake goes on without ALPN.
    /// - Parameters:
    ///   - offered: protocols, each behind its length. OpenSSL has checked that the lengths fit.
    ///   - selected: gets a pointer into `offered`.
    private static func selectProtocol(
        _ offered: UnsafeBufferPointer<UInt8>, _ selected: UnsafeMutablePointer<UnsafePointer<UInt8>?>?,
        _ length: UnsafeMutablePointer<UInt8>?
    ) -> Int32 {
        let name = protocols.dropFirst()
        var rest = offered[...]
        while let count = rest.popFirst(), count <= rest.count {
            let candidate = rest.prefix(Int(count))
            if candidate.elementsEqual(name) {
                selected?.pointee = offered.baseAddress! + candidate.startIndex
                length?.pointee = count
                return SSL_TLSEXT_ERR_OK
            }
            rest = rest.dropFirst(Int(count))
        }
        return SSL_TLSEXT_ERR_NOACK
    }

    /// Has the names of the CAs sent to clients, so that a client with several certificates can choose (RFC 8446 section
    /// 4.2.4). If the message has no room for all, none is sent: then every certificate is as good to the client.
    private func sendNames(of trust: TrustStore) throws(TLSFailure) {
        guard let certificates = X509_STORE_get1_all_certs(trust.store), let names = OPENSSL_sk_new_null() else {
            throw .outOfMemory
        }
        defer {
            while let certificate = OPENSSL_sk_pop(certificates) { X509_free(OpaquePointer(certificate)) }
            OPENSSL_sk_free(certificates)
        }
        // The context frees the list and its names.
        SSL_CTX_set_client_CA_list(context, names)
        var size = 0
        for index in 0..<OPENSSL_sk_num(certificates) {
            let name = X509_get_subject_name(OpaquePointer(OPENSSL_sk_value(certificates, index)))
            guard let copy = X509_NAME_dup(name) else { throw .outOfMemory }
            guard OPENSSL_sk_push(names, UnsafeRawPointer(copy)) > 0 else {
                X509_NAME_free(copy)
                throw .outOfMemory
            }
            // Two bytes for the length of each name.
            size += 2 + Int(i2d_X509_NAME(name, nil))
        }
        guard size > Int(UInt16.max) else { return }
        while let name = OPENSSL_sk_pop(names) { X509_NAME_free(OpaquePointer(name)) }
    }
}
