// An SSL_CTX: what the option `tls` sets for all connections of websockets or servers with equal options, and the sessions
// that clients resume. A thread of TLSContextCache makes it, since that reads files; from then on only the thread that runs
// the loop uses it.
//
// This file has what both roles need, and the client's part; +Server has the server's.

import COpenSSL
import Dispatch
import WebSocketProtocol

// @unchecked Sendable: the thread that makes it hands it over complete. From then on only the thread that runs the loop
// uses OpenSSL's object, `sessions` and `recordBuffer`. Threads of TLSContextCache call `matchesFiles`, which reads
// properties that never change.
final class TLSContext: @unchecked Sendable {
    let options: Options.TLS
    /// An SSL_CTX.
    let context: OpaquePointer
    /// The newest session of each server, by `name:port` (RFC 8446 section 2.2, RFC 5077). An SSL_SESSION each.
    private var sessions: [String: OpaquePointer] = [:]
    private static let maximumSessions = 64
    /// nil for a server that asks for no client certificates.
    private let trust: TrustStore?
    private let keyLog: KeyLog?
    /// The files of our certificate and key, as they were when they were read.
    private let files: [String: FileStamp?]
    /// Memory for records, lent to one connection at a time: for a write, or until its socket has taken the records.
    var recordBuffer = ByteBuffer()

    /// What was read from the options' files.
    private struct Contents {
        var files: [String: FileStamp?]
        var certificate: PEM?
        var key: PEM?
    }

    /// Reads files and blocks: never called on the thread that runs the loop. The thread blocks forks (Thread.swift).
    /// - Parameter threads: the group of the threads that the context starts.
    static func make(_ options: Options.TLS, _ threads: DispatchGroup = DispatchGroup()) throws(TLSFailure)
        -> TLSContext
    {
        OpenSSL.start()
        guard options.role == .client || options.certificate != nil else {
            throw TLSFailure(reason: "tls.cert is missing", cause: .options)
        }
        let trust = options.role == .server && options.ca == nil ? nil : try TrustStore.current(options.ca)
        var contents = Contents(files: stamps(options))
        if let text = options.certificate { contents.certificate = try PEM(text, PEM.name(text, "tls.cert")) }
        if let text = options.key { contents.key = try PEM(text, PEM.name(text, "tls.key")) }
        return try TLSContext(options, trust, contents, threads)
    }

    private init(
        _ options: Options.TLS, _ trust: TrustStore?, _ contents: Contents, _ threads: DispatchGroup
    ) throws(TLSFailure) {
        self.options = options
        self.trust = trust
        keyLog = options.keyLog.flatMap { KeyLog.open($0, threads) }
        files = contents.files
        ERR_clear_error()
        let method = options.role == .client ? TLS_client_method() : TLS_server_method()
        guard let context = SSL_CTX_new(method) else { throw Self.failure("OpenSSL can't begin") }
        self.context = context
        if let trust { SSL_CTX_set1_cert_store(context, trust.store) }
        SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, Int(options.minimumVersion.rawValue), nil)
        SSL_CTX_set_options(
            context,
            // Compression and renegotiation are disabled for the reasons in RFC 9113 section 9.2.1.
            WS_SSL_OP_NO_COMPRESSION | WS_SSL_OP_NO_RENEGOTIATION | WS_SSL_OP_ENABLE_KTLS)
        SSL_CTX_ctrl(
            context, SSL_CTRL_MODE,
            Int(SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER) | Int(SSL_MODE_RELEASE_BUFFERS),
            nil)
        // One read of the socket takes several records.
        SSL_CTX_ctrl(context, SSL_CTRL_SET_READ_AHEAD, 1, nil)
        SSL_CTX_set_default_read_buffer_len(context, 64 << 10)
        // RSA of 2048 bits, SHA-256 and the like, whatever the system's default; the option `ciphers` overrides it.
        SSL_CTX_set_security_level(context, 2)
        SSL_CTX_set_cert_verify_callback(context, { store, _ in TLSConnection.verify(store) ? 1 : 0 }, nil)
        switch options.role {
        case .client: setUpClient()
        case .server: try setUpServer(clientCAs: trust)
        }
        if keyLog != nil {
            SSL_CTX_set_keylog_callback(context) { ssl, line in TLSConnection.logSecret(line, of: ssl) }
        }
        try setCiphers()
        try setIdentity(contents)
    }

    private func setUpClient() {
        SSL_CTX_set_alpn_protos(context, Self.protocols, UInt32(Self.protocols.count))
        // Also with verify = false: the callback checks the pins.
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
        SSL_CTX_ctrl(
            context, SSL_CTRL_SET_SESS_CACHE_MODE, Int(SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL), nil)
        SSL_CTX_sess_set_new_cb(context) { ssl, session in
            TLSConnection.storeSession(session, of: ssl)
            // 0: OpenSSL keeps its reference.
            return 0
        }
    }

    /// The protocols for ALPN (RFC 7301 section 3.1), each behind its length.
    static let protocols = Array("\u{8}http/1.1".utf8)

    deinit {
        for session in sessions.values { SSL_SESSION_free(session) }
        SSL_CTX_free(context)
    }

    // MARK: - Files

    var dependsOnFiles: Bool { !files.isEmpty || !TrustStore.isFixed(options.ca) }

    /// Whether the files that it was made of are still the same. Reads files, as `make` does.
    func matchesFiles() -> Bool {
        trust?.matchesFiles(of: options.ca) ?? true && Self.stamps(options) == files
    }

    private static func stamps(_ options: Options.TLS) -> [String: FileStamp?] {
        let names = [options.certificate, options.key].compactMap { $0 }.filter { !PEM.isText($0) }
        return Dictionary(names.map { ($0, FileStamp($0)) }) { first, _ in first }
    }

    /// Appends a line of OpenSSL's to the key log.
    func logSecret(_ line: UnsafePointer<CChar>) {
        keyLog?.append(line)
    }

    // MARK: - Sessions

    /// Keeps a copy of a session for the next connection to the same server. OpenSSL makes the original useless if its
    /// connection ends without close_notify, and that is when a websocket reconnects.
    func storeSession(_ session: OpaquePointer, for server: String) {
        guard let copy = SSL_SESSION_dup(session) else { return }
        if sessions.count >= Self.maximumSessions, sessions[server] == nil, let other = sessions.first {
            SSL_SESSION_free(other.value)
            sessions[other.key] = nil
        }
        if let old = sessions.updateValue(copy, forKey: server) { SSL_SESSION_free(old) }
    }

    /// Offers a copy of the server's session, if there is one, in the handshake of `ssl`: see `storeSession`.
    func resumeSession(_ ssl: OpaquePointer, for server: String) {
        guard let session = sessions[server], let copy = SSL_SESSION_dup(session) else { return }
        SSL_set_session(ssl, copy)
        SSL_SESSION_free(copy)
        // A ticket of TLS 1.3 is used once (RFC 8446 appendix C.4).
        guard SSL_SESSION_get_protocol_version(session) == TLS1_3_VERSION else { return }
        SSL_SESSION_free(session)
        sessions[server] = nil
    }

    /// A handshake with the server has failed: its session may be the reason (RFC 5246 section 7.2.2).
    func removeSession(for server: String) {
        if let session = sessions.removeValue(forKey: server) { SSL_SESSION_free(session) }
    }

    // MARK: - Options

    /// Names that begin with `TLS_` are the suites of TLS 1.3: OpenSSL has a list of its own for them.
    private func setCiphers() throws(TLSFailure) {
        guard let ciphers = options.ciphers else { return }
        let names = ciphers.split { ":, ".contains($0) }
        let suites = names.filter { $0.hasPrefix("TLS_") }.joined(separator: ":")
        let list = names.filter { !$0.hasPrefix("TLS_") }.joined(separator: ":")
        guard suites.isEmpty || SSL_CTX_set_ciphersuites(context, suites) == 1,
            // Without certificates there would be nothing to verify.
            list.isEmpty || SSL_CTX_set_cipher_list(context, list + ":!aNULL:!eNULL:!PSK:!SRP") == 1
        else { throw Self.failure("tls.ciphers '\(quotedForError(ciphers))' can't be used") }
    }

    /// Our certificate, its issuers' certificates that follow it in the file, and its key.
    private func setIdentity(_ contents: Contents) throws(TLSFailure) {
        guard let text = options.certificate, let chain = contents.certificate else {
            guard options.key == nil else { throw TLSFailure(reason: "tls.key needs tls.cert", cause: .options) }
            return
        }
        let name = PEM.name(text, "tls.cert")
        var count = 0
        while let certificate = try chain.nextCertificate() {
            defer { X509_free(certificate) }
            // The context takes its own reference to each.
            let isUsed =
                count == 0
                ? SSL_CTX_use_certificate(context, certificate) == 1
                : SSL_CTX_ctrl(context, SSL_CTRL_CHAIN_CERT, 1, UnsafeMutableRawPointer(certificate)) == 1
            guard isUsed else { throw Self.failure("\(name) can't be used") }
            count += 1
        }
        if OpenSSLError.isOutOfMemory { throw .outOfMemory }
        guard chain.isAtEnd, !chain.hasBrokenBeginning else {
            throw TLSFailure(reason: "\(name) has a broken certificate", cause: .options)
        }
        guard count > 0 else { throw TLSFailure(reason: "\(name) has no certificate in PEM form", cause: .options) }
        ERR_clear_error()
        chain.rewind()
        try setKey(contents.key ?? chain, PEM.name(options.key ?? text, "tls.key"))
    }

    private func setKey(_ source: PEM, _ name: String) throws(TLSFailure) {
        let (key, wasAsked) = source.privateKey(password: options.password)
        guard let key else {
            if OpenSSLError.isOutOfMemory { throw .outOfMemory }
            guard wasAsked else { throw Self.failure("\(name) has no private key in PEM form") }
            ERR_clear_error()
            throw TLSFailure(
                reason: options.password == nil
                    ? "\(name) is encrypted: give tls.password" : "\(name) can't be decrypted: tls.password is wrong",
                cause: .options)
        }
        defer { EVP_PKEY_free(key) }
        guard SSL_CTX_use_PrivateKey(context, key) == 1, SSL_CTX_check_private_key(context) == 1 else {
            throw Self.failure("\(name) is not the key of tls.cert")
        }
    }

    static func failure(_ what: String) -> TLSFailure {
        // Without a reason OpenSSL has had no memory for it.
        let cause: TLSFailure.Cause = OpenSSLError.isOutOfMemory || ERR_peek_error() == 0 ? .temporary : .options
        return TLSFailure(reason: "\(what): \(OpenSSLError.takeReason())", cause: cause)
    }
}
