// What the option tls makes of OpenSSL: whom to trust, who we are, which versions and ciphers; and the
// sessions that a reconnect resumes. Websockets with equal options share one.

import COpenSSL
import Dispatch
import Glibc

/// Why TLS can't go on, in words.
struct TLSFailure: Error, Sendable {
    let reason: String
    /// Trying again would not help: a certificate that does not verify, options that can't be used.
    var isPermanent = true
}

// Sendable: made on a thread of its own, from then on used by the engine's thread alone.
final class TLSContext: @unchecked Sendable {
    let options: Options.TLS
    /// An SSL_CTX.
    let context: OpaquePointer
    /// For `name:port`, the newest session (RFC 8446 section 2.2, RFC 5077).
    private var sessions: [String: OpaquePointer] = [:]
    private static let maximumSessions = 64

    /// Reads files: not for the engine's thread.
    init(_ options: Options.TLS) throws(TLSFailure) {
        self.options = options
        ERR_clear_error()
        guard let context = SSL_CTX_new(TLS_client_method()) else { throw Self.failure("OpenSSL can't begin") }
        self.context = context
        SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, Int(options.minimumVersion.rawValue), nil)
        SSL_CTX_set_options(
            context,
            // RFC 9113 section 9.2.1 says why neither of the first two.
            WS_SSL_OP_NO_COMPRESSION | WS_SSL_OP_NO_RENEGOTIATION | WS_SSL_OP_ENABLE_KTLS)
        SSL_CTX_ctrl(
            context, SSL_CTRL_MODE,
            Int(SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER) | Int(SSL_MODE_RELEASE_BUFFERS),
            nil)
        // Several records with one read of the socket.
        SSL_CTX_ctrl(context, SSL_CTRL_SET_READ_AHEAD, 1, nil)
        SSL_CTX_set_default_read_buffer_len(context, 64 << 10)
        // RSA of 2048 bits, SHA-256 and the like, whatever the system's default; `ciphers` may say otherwise.
        SSL_CTX_set_security_level(context, 2)
        let http1 = Array("\u{8}http/1.1".utf8)
        SSL_CTX_set_alpn_protos(context, http1, UInt32(http1.count))
        // Also with verify = false: the pins are looked at where the chain is.
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
        SSL_CTX_set_cert_verify_callback(context, { store, _ in TLSConnection.verify(store) ? 1 : 0 }, nil)
        SSL_CTX_ctrl(
            context, SSL_CTRL_SET_SESS_CACHE_MODE, Int(SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL), nil)
        SSL_CTX_sess_set_new_cb(context) { ssl, session in
            TLSConnection.keep(session, of: ssl)
            // Its reference stays OpenSSL's.
            return 0
        }
        try setCiphers()
        try setTrust()
        try setIdentity()
    }

    deinit {
        for session in sessions.values { SSL_SESSION_free(session) }
        SSL_CTX_free(context)
    }

    // MARK: - Sessions

    /// Keeps a session for the next connection to the same server. It is a copy: OpenSSL takes back the one
    /// of a connection that ends without close_notify, which is when we reconnect.
    func keep(_ session: OpaquePointer, for server: String) {
        guard let copy = SSL_SESSION_dup(session) else { return }
        if sessions.count >= Self.maximumSessions, sessions[server] == nil, let other = sessions.first {
            SSL_SESSION_free(other.value)
            sessions[other.key] = nil
        }
        if let old = sessions.updateValue(copy, forKey: server) { SSL_SESSION_free(old) }
    }

    /// Offers to `ssl` the session of a server, if there is one.
    func resume(_ ssl: OpaquePointer, for server: String) {
        guard let session = sessions[server] else { return }
        SSL_set_session(ssl, session)
        // RFC 8446 appendix C.4: a ticket is used once.
        guard SSL_SESSION_get_protocol_version(session) == TLS1_3_VERSION else { return }
        SSL_SESSION_free(session)
        sessions[server] = nil
    }

    // MARK: - Options

    /// `TLS_…` names are the suites of TLS 1.3, which OpenSSL keeps apart.
    private func setCiphers() throws(TLSFailure) {
        guard let ciphers = options.ciphers else { return }
        let names = ciphers.split { ":, ".contains($0) }
        let suites = names.filter { $0.hasPrefix("TLS_") }.joined(separator: ":")
        let list = names.filter { !$0.hasPrefix("TLS_") }.joined(separator: ":")
        guard suites.isEmpty || SSL_CTX_set_ciphersuites(context, suites) == 1,
            list.isEmpty || SSL_CTX_set_cipher_list(context, list) == 1
        else { throw Self.failure("tls.ciphers '\(ciphers)' can't be used") }
    }

    private func setTrust() throws(TLSFailure) {
        guard let ca = options.ca else {
            // SSL_CERT_FILE and SSL_CERT_DIR are read here.
            guard SSL_CTX_set_default_verify_paths(context) == 1 else {
                throw Self.failure("the system's certificates can't be used")
            }
            return
        }
        if PEM.isText(ca) {
            try trust(PEM.text(ca), "tls.ca")
        } else if let names = PEM.files(inFolder: ca) {
            // As c_rehash makes it, looked up by the hash of a name; or else the files as they are.
            if names.contains(where: PEM.isHash) {
                guard SSL_CTX_load_verify_dir(context, ca) == 1 else {
                    throw Self.failure("the folder '\(ca)' of tls.ca can't be used")
                }
            }
            let files = names.filter { name in [".pem", ".crt", ".cer"].contains { name.hasSuffix($0) } }
            guard !files.isEmpty || names.contains(where: PEM.isHash) else {
                throw TLSFailure(reason: "the folder '\(ca)' of tls.ca has no certificates")
            }
            guard !names.contains(where: PEM.isHash) else { return }
            for file in files { try trust(PEM.file("\(ca)/\(file)"), "the file '\(ca)/\(file)' of tls.ca") }
        } else {
            try trust(PEM.file(ca), "the file '\(ca)' of tls.ca")
        }
    }

    private func trust(_ source: consuming PEM, _ name: String) throws(TLSFailure) {
        let store = SSL_CTX_get_cert_store(context)
        guard let bio = source.bio else { throw Self.failure("\(name) can't be read") }
        var count = 0
        while let certificate = PEM_read_bio_X509_AUX(bio, nil, { _, _, _, _ in -1 }, nil) {
            X509_STORE_add_cert(store, certificate)
            X509_free(certificate)
            count += 1
        }
        // The last attempt found the end, or something that is no certificate.
        guard count > 0 else {
            ERR_clear_error()
            throw TLSFailure(reason: "\(name) has no certificate in PEM form")
        }
        ERR_clear_error()
    }

    /// The client's certificate, those of its issuers behind it, and its key.
    private func setIdentity() throws(TLSFailure) {
        guard let certificate = options.certificate else { return }
        let chain = PEM(certificate)
        guard let bio = chain.bio else { throw Self.failure("tls.cert can't be read") }
        guard let leaf = PEM_read_bio_X509_AUX(bio, nil, { _, _, _, _ in -1 }, nil) else {
            ERR_clear_error()
            throw TLSFailure(reason: "tls.cert has no certificate in PEM form")
        }
        defer { X509_free(leaf) }
        guard SSL_CTX_use_certificate(context, leaf) == 1 else { throw Self.failure("tls.cert can't be used") }
        while let issuer = PEM_read_bio_X509(bio, nil, { _, _, _, _ in -1 }, nil) {
            // On success it is the context's.
            if SSL_CTX_ctrl(context, SSL_CTRL_CHAIN_CERT, 0, UnsafeMutableRawPointer(issuer)) != 1 { X509_free(issuer) }
        }
        ERR_clear_error()
        try setKey(options.key ?? certificate)
    }

    private func setKey(_ text: String) throws(TLSFailure) {
        let source = PEM(text)
        guard let bio = source.bio else { throw Self.failure("tls.key can't be read") }
        let password = PEM.Password(options.password)
        let key = PEM_read_bio_PrivateKey(
            bio, nil, { buffer, size, _, password in PEM.Password.copy(password, to: buffer, size) },
            Unmanaged.passUnretained(password).toOpaque())
        guard let key else {
            guard password.wasAsked else { throw Self.failure("tls.key has no private key in PEM form") }
            ERR_clear_error()
            throw TLSFailure(
                reason: options.password == nil
                    ? "tls.key is encrypted: give tls.password" : "tls.key can't be decrypted: tls.password is wrong")
        }
        defer { EVP_PKEY_free(key) }
        guard SSL_CTX_use_PrivateKey(context, key) == 1, SSL_CTX_check_private_key(context) == 1 else {
            throw Self.failure("tls.key is not the key of tls.cert")
        }
    }

    private static func failure(_ what: String) -> TLSFailure {
        TLSFailure(reason: "\(what): \(OpenSSLError.words())")
    }
}

/// The contexts in use, each made once, on a thread of its own: that takes files and milliseconds.
struct TLSContexts {
    private var ready: [Options.TLS: TLSContext] = [:]
    private var waiters = Waiters<Options.TLS>()
    private static let maximum = 64
    /// Those that are being made.
    static let making = DispatchGroup()

    /// The context for these options; nil when it comes later, as a command to the loop for this token.
    mutating func context(_ options: Options.TLS, _ token: Poller.Token, _ mailbox: Mailbox) -> TLSContext? {
        if let context = ready[options] { return context }
        guard waiters.add(token, for: options) else { return nil }
        DispatchQueue(label: "websocket-tls").async(group: Self.making) {
            mailbox.post(
                .prepared(options, Result { () throws(TLSFailure) -> TLSContext in try TLSContext(options) }))
        }
        return nil
    }

    /// It has come: for these.
    mutating func prepared(_ options: Options.TLS, _ result: Result<TLSContext, TLSFailure>) -> [Poller.Token] {
        if ready.count >= Self.maximum { ready.removeAll() }
        ready[options] = try? result.get()
        return waiters.remove(options)
    }

    /// Its files may have changed: the next attempt reads them again.
    mutating func forget(_ options: Options.TLS) { ready[options] = nil }
}

/// Text in PEM form (RFC 7468), from a file or as it is.
private struct PEM: ~Copyable {
    let bio: OpaquePointer?

    /// A file's name, or the text itself.
    init(_ text: String) { self = Self.isText(text) ? Self.text(text) : Self.file(text) }

    private init(bio: OpaquePointer?) { self.bio = bio }

    deinit { BIO_free(bio) }

    /// Not by String.contains: it would bring the engine of regular expressions, 1.4 MB.
    static func isText(_ text: String) -> Bool { strstr(text, "-----BEGIN ") != nil }

    static func text(_ text: String) -> PEM {
        let bio = BIO_new(BIO_s_mem())
        let bytes = Array(text.utf8)
        BIO_write(bio, bytes, Int32(clamping: bytes.count))
        return PEM(bio: bio)
    }

    static func file(_ name: String) -> PEM { PEM(bio: BIO_new_file(name, "r")) }

    /// The names in a folder; nil when it is none.
    static func files(inFolder name: String) -> [String]? {
        guard let folder = opendir(name) else { return nil }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) {
                    String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
                })
        }
        return names.sorted()
    }

    /// `0a1b2c3d.0`
    static func isHash(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        return bytes.count >= 10 && bytes[8] == UInt8(ascii: ".")
            && bytes[..<8].allSatisfy { Character(Unicode.Scalar($0)).isHexDigit }
            && bytes[9...].allSatisfy { (0x30...0x39).contains($0) }
    }

    /// Asked for through a callback; without one, OpenSSL would ask on the terminal.
    final class Password {
        private let text: [UInt8]?
        private(set) var wasAsked = false

        init(_ text: String?) { self.text = text.map { Array($0.utf8) } }

        /// A pem_password_cb.
        static func copy(
            _ context: UnsafeMutableRawPointer?, to buffer: UnsafeMutablePointer<CChar>?, _ size: Int32
        ) -> Int32 {
            guard let context, let buffer else { return -1 }
            let password = Unmanaged<Password>.fromOpaque(context).takeUnretainedValue()
            password.wasAsked = true
            guard let text = password.text, text.count <= size else { return -1 }
            memcpy(buffer, text, text.count)
            return Int32(text.count)
        }
    }
}
