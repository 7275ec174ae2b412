// TLS over one socket, as the client: an SSL and what OpenSSL's calls mean for the one who waits. The socket
// is lent; nothing here blocks.

import CLinux
import COpenSSL
import Glibc
import WebSocketProtocol

final class TLSConnection {
    private let context: TLSContext
    private let socket: Int32
    /// An SSL.
    private let ssl: OpaquePointer
    /// Whom the certificate must name.
    private let expectedName: String
    /// Whose sessions may be resumed.
    private let sessionKey: String
    /// Why the certificate was refused.
    private var refusal: TLSFailure?
    /// What a certificate would have been refused for, were it not for verify = false.
    private var ignoredVerifyError: String?
    private var hasFailed = false
    /// Whether the certificate was looked at, in this handshake or in that of the session that is resumed.
    private var isVerified: Bool { isCertificateAccepted || SSL_session_reused(ssl) == 1 }
    private var isCertificateAccepted = false
    /// How many bytes of the socket may still be read in this call.
    private var readBudget = 0
    /// Of one call, so that others get their turn; also of one that writes.
    private static let bytesInCall = 256 << 10
    /// What the socket must be ready for until the call that would have blocked can be made again.
    private(set) var readNeeds = Poller.Interest.read
    private(set) var writeNeeds = Poller.Interest.write
    /// Records on their way to the socket, which takes many of them with one call.
    private var records = ByteBuffer()
    private var isEncrypting = false
    /// How many bytes of `write`'s buffer are in `records`, still the caller's: there are records only as long as the
    /// caller has some of theirs, and so comes again.
    private var unconfirmedPlaintext = 0
    /// What came behind bytes that were read in the same call.
    private var resultAfterBytes: Transport.Result?
    /// Whether more can be read without the socket becoming readable: OpenSSL has it, or the last call read no more
    /// of the socket than it may.
    private(set) var hasPending = false
    /// Whether a read of the socket has found its end.
    private var hasSocketEnded = false
    /// Whether the stream ended without the peer's close_notify (RFC 8446 section 6.1).
    private(set) var isTruncated = false

    /// - Parameters:
    ///   - host: the URL's; the certificate must be for it unless the options name another.
    ///   - socket: stays the caller's, and must outlive this.
    init(_ context: TLSContext, host: String, port: Int, socket: Int32) throws(TLSFailure) {
        self.context = context
        self.socket = socket
        var name = context.options.serverName ?? host
        // A root's dot is none of the certificate's.
        if name.hasSuffix(".") { name.removeLast() }
        expectedName = name
        sessionKey = "\(name):\(port)"
        guard let ssl = SSL_new(context.context) else { throw Self.failure("OpenSSL can't begin") }
        self.ssl = ssl
        guard let bio = BIO_new(Self.method) else { throw Self.failure("OpenSSL can't begin") }
        BIO_set_ex_data(bio, 0, Unmanaged.passUnretained(self).toOpaque())
        BIO_int_ctrl(bio, BIO_C_SET_FD, Int(BIO_NOCLOSE), socket)
        SSL_set_bio(ssl, bio, bio)
        SSL_set_ex_data(ssl, 0, Unmanaged.passUnretained(self).toOpaque())
        let parameters = SSL_get0_param(ssl)
        // RFC 9525: the names of the certificate are those of its extension, never its subject's.
        X509_VERIFY_PARAM_set_hostflags(
            parameters, UInt32(X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
        if X509_VERIFY_PARAM_set1_ip_asc(parameters, name) != 1 {
            ERR_clear_error()
            // To OpenSSL no name is any name, and a dot before it any name below; a wildcard is for certificates.
            guard isHostName(name), !name.utf8.contains(UInt8(ascii: "*")),
                X509_VERIFY_PARAM_set1_host(parameters, name, 0) == 1
            else {
                throw TLSFailure(reason: "'\(quotedForError(name))' is no name that a certificate can have")
            }
            // RFC 6066 section 3: names, not addresses.
            _ = name.withCString {
                SSL_ctrl(
                    ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, Int(TLSEXT_NAMETYPE_host_name),
                    UnsafeMutableRawPointer(mutating: $0))
            }
        }
        context.resumeSession(ssl, for: sessionKey)
        SSL_set_connect_state(ssl)
    }

    private static func failure(_ what: String) -> TLSFailure {
        TLSFailure(reason: "\(what): \(OpenSSLError.takeReason())", cause: .temporary)
    }

    deinit {
        sendCloseNotify()
        SSL_free(ssl)
    }

    /// OpenSSL's own socket BIO, but that it gathers what is written (`bioWrite`), raises no SIGPIPE, which would end the
    /// host, and has an end to reading: OpenSSL skips some records by itself, and would not return while a peer sends
    /// nothing else.
    // unsafe: made once; from then on OpenSSL only reads it.
    nonisolated(unsafe) private static let method: OpaquePointer? = {
        let socket = BIO_s_socket()
        let method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK | BIO_TYPE_DESCRIPTOR, "socket")
        BIO_meth_set_puts(method, BIO_meth_get_puts(socket))
        BIO_meth_set_ctrl(method, BIO_meth_get_ctrl(socket))
        BIO_meth_set_create(method, BIO_meth_get_create(socket))
        BIO_meth_set_destroy(method, BIO_meth_get_destroy(socket))
        BIO_meth_set_read(method) { bio, bytes, count in
            guard let context = BIO_get_ex_data(bio, 0) else { return -1 }
            let connection = Unmanaged<TLSConnection>.fromOpaque(context).takeUnretainedValue()
            guard connection.readBudget > 0 else {
                BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)
                return -1
            }
            // OpenSSL takes an interruption for a read that would block.
            let read = retrying { Int(BIO_meth_get_read(BIO_s_socket())!(bio, bytes, count)) }
            connection.readBudget -= max(read, 0)
            guard read == 0, count > 0 else { return Int32(read) }
            // OpenSSL fails for good when the socket ends without close_notify, and our Close could not leave any more:
            // to OpenSSL the socket has nothing yet; `outcome` reports the end.
            connection.hasSocketEnded = true
            BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)
            return -1
        }
        BIO_meth_set_write(method) { bio, bytes, count in
            guard let context = BIO_get_ex_data(bio, 0) else { return -1 }
            let connection = Unmanaged<TLSConnection>.fromOpaque(context).takeUnretainedValue()
            return connection.bioWrite(UnsafeRawBufferPointer(start: bytes, count: Int(count)), bio)
        }
        return method
    }()

    // MARK: - Calls

    /// Goes on with the handshake; `bytes` when it is done.
    func shakeHands() -> Transport.Result {
        readBudget = Self.bytesInCall
        clearErrors()
        let result = SSL_do_handshake(ssl)
        readNeeds = .read
        hasPending = readBudget <= 0
        guard result != 1 else {
            // Some ciphers know no certificates.
            return isVerified
                ? .bytes(0) : .failed(.tls(TLSFailure(reason: "the server has not shown a certificate")))
        }
        let (outcome, needs) = outcome(result, during: "the TLS handshake")
        readNeeds = needs
        return refusal.map { .failed(.tls($0)) } ?? outcome
    }

    /// Fills the buffer as far as records have come.
    func read(into buffer: UnsafeMutableRawBufferPointer) -> Transport.Result {
        if let result = resultAfterBytes {
            resultAfterBytes = nil
            hasPending = false
            return result
        }
        readNeeds = .read
        readBudget = Self.bytesInCall
        clearErrors()
        var total = 0
        while total < buffer.count {
            var count = 0
            let result = SSL_read_ex(ssl, buffer.baseAddress! + total, buffer.count - total, &count)
            if result == 1 {
                total += count
                continue
            }
            let (outcome, needs) = outcome(result, during: "TLS")
            readNeeds = needs
            hasPending = readBudget <= 0
            guard total > 0 else { return outcome }
            if case .wouldBlock = outcome {
            } else {
                resultAfterBytes = outcome
                hasPending = true
            }
            return .bytes(total)
        }
        hasPending = true
        return .bytes(total)
    }

    /// Tells how much of the buffer has left for the socket in records; the rest is to be given again, where it may be
    /// elsewhere and longer. `wouldBlock` is the socket's word, `bytes` leaves open whether it takes more.
    func write(_ buffer: UnsafeRawBufferPointer) -> Transport.Result {
        writeNeeds = .write
        var refusal: Transport.Result?
        if records.isEmpty { refusal = encryptIntoRecords(buffer) }
        if let number = flush() {
            hasFailed = true
            refusal = .failed(.system(number))
        }
        // A record is longer than what is in it.
        let left = min(unconfirmedPlaintext, records.count)
        let count = min(unconfirmedPlaintext - left, buffer.count)
        unconfirmedPlaintext = left
        return count > 0 ? .bytes(count) : refusal ?? .wouldBlock
    }

    /// Makes records of what the buffer begins with. If OpenSSL takes no more: why.
    private func encryptIntoRecords(_ buffer: UnsafeRawBufferPointer) -> Transport.Result? {
        let limit = min(buffer.count, Self.bytesInCall)
        swap(&records, &context.recordBuffer)
        records.reserve(limit + (limit / Int(SSL3_RT_MAX_PLAIN_LENGTH) + 1) * Int(SSL3_RT_MAX_ENCRYPTED_OVERHEAD))
        isEncrypting = true
        defer { isEncrypting = false }
        clearErrors()
        while unconfirmedPlaintext < limit {
            var count = 0
            // The whole of what is left: a call that is made again must not be given less.
            let result = SSL_write_ex(
                ssl, buffer.baseAddress! + unconfirmedPlaintext, buffer.count - unconfirmedPlaintext, &count)
            guard result == 1 else {
                let (outcome, needs) = outcome(result, during: "TLS")
                writeNeeds = needs
                return outcome
            }
            unconfirmedPlaintext += count
        }
        return nil
    }

    /// Hands the records to the socket; returns the error's number if that fails.
    private func flush() -> Int32? {
        let sent = records.isEmpty ? 0 : send(UnsafeRawBufferPointer(records.bytes))
        guard sent >= 0 else { return errno == EAGAIN ? nil : errno }
        records.didRead(sent)
        if records.isEmpty {
            swap(&records, &context.recordBuffer)
            // Another connection's may have come back meanwhile.
            records.removeAll(keepingAtMost: 0)
        }
        return nil
    }

    private func send(_ bytes: UnsafeRawBufferPointer) -> Int {
        // SIGPIPE would end the host.
        retrying { ws_send(socket, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL)) }
    }

    /// Takes a record from OpenSSL.
    private func bioWrite(_ record: UnsafeRawBufferPointer, _ bio: OpaquePointer?) -> Int32 {
        BIO_clear_flags(bio, BIO_FLAGS_WRITE | BIO_FLAGS_SHOULD_RETRY)
        if BIO_test_flags(bio, WS_BIO_FLAGS_KTLS_TX_CTRL_MSG) != 0 {
            // The socket must have got the data before it.
            _ = flush()
            if records.isEmpty {
                return withoutSIGPIPE {
                    let bytes = record.assumingMemoryBound(to: CChar.self)
                    return BIO_meth_get_write(BIO_s_socket())!(bio, bytes.baseAddress, Int32(bytes.count))
                }
            }
        } else if records.isEmpty, !isEncrypting {
            let sent = send(record)
            if sent >= 0 || errno != EAGAIN { return Int32(sent) }
        } else if records.count < 2 * Self.bytesInCall {
            if records.append(record) { return Int32(record.count) }
            errno = ENOMEM
            return -1
        }
        BIO_set_flags(bio, BIO_FLAGS_WRITE | BIO_FLAGS_SHOULD_RETRY)
        return -1
    }

    /// Sends close_notify, if that is possible at once.
    func sendCloseNotify() {
        // OpenSSL forbids it after a fatal error, and it means nothing before the handshake is done. The end of what
        // has not left can't be told.
        guard !hasFailed, records.isEmpty, SSL_is_init_finished(ssl) == 1,
            SSL_get_shutdown(ssl) & SSL_SENT_SHUTDOWN == 0
        else { return }
        SSL_shutdown(ssl)
        ERR_clear_error()
    }

    /// Those of others on this thread, above all: `outcome` reads both. A call that succeeds leaves none.
    private func clearErrors() {
        ERR_clear_error()
        errno = 0
    }

    private func outcome(_ result: Int32, during what: String) -> (Transport.Result, Poller.Interest) {
        let number = errno
        switch SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ:
            guard hasSocketEnded else { return (.wouldBlock, .read) }
            isTruncated = true
            return (.end, .read)
        case SSL_ERROR_WANT_WRITE: return (.wouldBlock, .write)
        case SSL_ERROR_ZERO_RETURN: return (.end, .read)
        case SSL_ERROR_SYSCALL:
            hasFailed = true
            isTruncated = true
            return (number == 0 ? .end : .failed(.system(number)), .read)
        default:
            hasFailed = true
            return (.failed(.tls(TLSFailure(reason: words(during: what), cause: .temporary))), .read)
        }
    }

    private func words(during what: String) -> String {
        if OpenSSLError.isFirst(SSL_R_WRONG_VERSION_NUMBER), SSL_is_init_finished(ssl) == 0 {
            return "the server does not speak TLS on this port; is it ws:// instead of wss://?"
        }
        return "\(what) failed: \(OpenSSLError.takeReason())"
    }

    /// What was agreed on, for a log.
    var description: String {
        let version = String(cString: SSL_get_version(ssl))
        let cipher = String(cString: SSL_CIPHER_get_name(SSL_get_current_cipher(ssl)))
        let session = SSL_session_reused(ssl) == 1 ? "session resumed" : "new session"
        let trust =
            context.options.verifies
            ? "verified as \(expectedName)"
            : "certificate not verified (tls.verify = false)" + (ignoredVerifyError.map { ": \($0)" } ?? "")
        return "\(version), \(cipher), \(session), \(trust)"
    }

    // MARK: - OpenSSL's callbacks

    private static func connection(of ssl: OpaquePointer?) -> TLSConnection? {
        SSL_get_ex_data(ssl, 0).map { Unmanaged<TLSConnection>.fromOpaque($0).takeUnretainedValue() }
    }

    /// Decides on the peer's certificate.
    static func verify(_ store: OpaquePointer?) -> Bool {
        let ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx())
        guard let store, let connection = connection(of: ssl.map { OpaquePointer($0) }) else { return false }
        return connection.accepts(store)
    }

    private func accepts(_ store: OpaquePointer) -> Bool {
        let options = context.options
        if X509_verify_cert(store) != 1 {
            let words = Certificate.verifyError(store, expected: expectedName)
            guard !options.verifies else {
                let error = X509_STORE_CTX_get_error(store)
                let isTemporary = error == X509_V_ERR_OUT_OF_MEM || error == X509_V_ERR_STORE_LOOKUP
                refusal = TLSFailure(reason: words, cause: isTemporary ? .temporary : .permanent)
                return false
            }
            ignoredVerifyError = words
            X509_STORE_CTX_set_error(store, X509_V_OK)
        }
        let digest = X509_STORE_CTX_get0_cert(store).flatMap(Certificate.publicKeyDigest)
        isCertificateAccepted = options.pins.isEmpty || digest.map(options.pins.contains) ?? false
        guard !isCertificateAccepted else { return true }
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION)
        refusal = TLSFailure(
            reason: "the server's key does not match tls.pin: it is sha256//\(digest ?? "?")")
        return false
    }

    /// The server gave a session.
    static func storeSession(_ session: OpaquePointer?, of ssl: OpaquePointer?) {
        guard let connection = connection(of: ssl), let session else { return }
        connection.context.storeSession(session, for: connection.sessionKey)
    }
}
