// TLS over one socket, as the client or as the server: an SSL of OpenSSL's, and what the results of its calls mean for
// the caller. Transport owns it and calls it on the thread that runs the loop; nothing here blocks. The socket belongs
// to Transport.
//
// This file has the calls; +BIO has the way between OpenSSL and the socket, +Verification the server's certificate,
// +Accepting the server's side.

import CLinux
import COpenSSL
import Glibc
import WebSocketProtocol

final class TLSConnection {
    let context: TLSContext
    let socket: Int32
    /// An SSL.
    let ssl: OpaquePointer
    /// The other side, whose role is the opposite of ours.
    let peer: Peer

    enum Peer {
        /// The name or address that the server's certificate must have, and `name:port`, by which its sessions are found.
        case server(name: String, sessionKey: String)
        case client
    }

    // The peer's certificate (+Verification, +Accepting).

    /// Why it was refused.
    var refusal: TLSFailure?
    /// Why it would have been refused without `verify = false`.
    var ignoredVerifyError: String?
    var isCertificateAccepted = false

    // The way between OpenSSL and the socket (+BIO).

    /// Bytes that the current call may still read from the socket.
    var readBudget = 0
    /// Bytes that one call reads from the socket at most, and that one call encrypts: so others get their turn.
    static let bytesPerCall = 256 << 10
    /// Encrypted records that the socket has not taken. Memory of the context, borrowed while there are any.
    var records = ByteBuffer()
    /// True while `write` encrypts: then records are collected, and leave with one call.
    var isEncrypting = false
    /// Bytes of the caller's buffer that are encrypted in `records`, but not reported as written. The caller still has
    /// them, so it calls again, and that call writes the records.
    private var unconfirmedPlaintext = 0
    /// Whether a read of the socket has returned 0.
    var hasSocketEnded = false

    /// What the socket must be ready for before the next read or write can succeed: TLS may have to write in order to
    /// read, and the reverse.
    private(set) var readNeeds = Poller.Interest.read
    private(set) var writeNeeds = Poller.Interest.write
    /// The end or the failure that the last read found behind its bytes: the next read returns it.
    private var resultAfterBytes: Transport.Result?
    /// Whether the next read can have bytes without the socket becoming readable: OpenSSL has them, or the last call
    /// has used up its budget.
    private(set) var hasPending = false
    /// Whether the stream ended without the peer's close_notify (RFC 8446 section 6.1).
    private(set) var isTruncated = false
    /// After a fatal error OpenSSL forbids further calls of SSL_shutdown.
    private var hasFailed = false

    /// - Parameters:
    ///   - host: the URL's; the certificate must be for it unless the options name another.
    ///   - socket: stays the caller's, and must outlive this object.
    convenience init(_ context: TLSContext, host: String, port: Int, socket: Int32) throws(TLSFailure) {
        // Names in certificates do not end with a dot.
        let name = withoutTrailingDot(context.options.serverName ?? host)
        let sessionKey = "\(name):\(port)"
        try self.init(context, to: .server(name: name, sessionKey: sessionKey), socket: socket)
        try setExpectedName(name)
        context.resumeSession(ssl, for: sessionKey)
        SSL_set_connect_state(ssl)
    }

    init(_ context: TLSContext, to peer: Peer, socket: Int32) throws(TLSFailure) {
        self.context = context
        self.peer = peer
        self.socket = socket
        guard let ssl = SSL_new(context.context) else { throw Self.failure("OpenSSL can't begin") }
        self.ssl = ssl
        guard let bio = BIO_new(Self.bioMethod) else { throw Self.failure("OpenSSL can't begin") }
        BIO_set_ex_data(bio, 0, Unmanaged.passUnretained(self).toOpaque())
        BIO_int_ctrl(bio, BIO_C_SET_FD, Int(BIO_NOCLOSE), socket)
        SSL_set_bio(ssl, bio, bio)
        SSL_set_ex_data(ssl, 0, Unmanaged.passUnretained(self).toOpaque())
    }

    private static func failure(_ what: String) -> TLSFailure {
        TLSFailure(reason: "\(what): \(OpenSSLError.takeReason())", cause: .temporary)
    }

    deinit { SSL_free(ssl) }

    // MARK: - Calls

    /// Takes the next step of the handshake. Returns `bytes` once it is complete.
    func continueHandshake() -> Transport.Result {
        readBudget = Self.bytesPerCall
        clearErrors()
        let result = SSL_do_handshake(ssl)
        readNeeds = .read
        hasPending = readBudget <= 0
        guard result != 1 else {
            guard isCertificateMissing else { return .bytes(0) }
            return .failed(.tls(TLSFailure(reason: "the \(peerName) has not shown a certificate")))
        }
        let (outcome, needs) = outcome(result, during: Self.handshake)
        readNeeds = needs
        if case .wouldBlock = outcome { return outcome }
        if case .server(_, let sessionKey) = peer { context.removeSession(for: sessionKey) }
        return refusal.map { .failed(.tls($0)) } ?? outcome
    }

    /// Whether the complete handshake was one without the certificate that it needs: with anonymous and PSK ciphers OpenSSL
    /// never asks for a verdict on one. A resumed session had a certificate that was accepted.
    private var isCertificateMissing: Bool {
        let isNeeded = context.options.role == .client || context.options.ca != nil
        return isNeeded && !isCertificateAccepted && SSL_session_reused(ssl) != 1
    }

    /// Decrypts the records that have come, until the buffer is full or the budget is used up.
    func read(into buffer: UnsafeMutableRawBufferPointer) -> Transport.Result {
        if let result = resultAfterBytes {
            resultAfterBytes = nil
            hasPending = false
            return result
        }
        readNeeds = .read
        readBudget = Self.bytesPerCall
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
            if case .wouldBlock = outcome { return .bytes(total) }
            resultAfterBytes = outcome
            hasPending = true
            return .bytes(total)
        }
        hasPending = true
        return .bytes(total)
    }

    /// Returns the number of plaintext bytes whose records the socket has taken. Call again with the rest: the buffer
    /// may have moved or grown, but not shrunk. After `bytes` the socket may or may not take more; after `wouldBlock`
    /// not.
    func write(_ buffer: UnsafeRawBufferPointer) -> Transport.Result {
        assert(buffer.count >= unconfirmedPlaintext)
        writeNeeds = .write
        var refusal: Transport.Result?
        if records.isEmpty { refusal = encryptIntoRecords(buffer) }
        if let number = flush() {
            hasFailed = true
            refusal = .failed(.system(number))
        }
        // Records are longer than their plaintext: this takes too little as written, never too much.
        let left = min(unconfirmedPlaintext, records.count)
        let count = min(unconfirmedPlaintext - left, buffer.count)
        unconfirmedPlaintext = left
        return count > 0 ? .bytes(count) : refusal ?? .wouldBlock
    }

    /// Encrypts the beginning of the buffer. Returns why OpenSSL takes no more, if it does not.
    private func encryptIntoRecords(_ buffer: UnsafeRawBufferPointer) -> Transport.Result? {
        let limit = min(buffer.count, Self.bytesPerCall)
        swap(&records, &context.recordBuffer)
        records.reserve(limit + (limit / Int(SSL3_RT_MAX_PLAIN_LENGTH) + 1) * Int(SSL3_RT_MAX_ENCRYPTED_OVERHEAD))
        isEncrypting = true
        defer { isEncrypting = false }
        clearErrors()
        while unconfirmedPlaintext < limit {
            var count = 0
            // All the rest: OpenSSL rejects a repeated call with a shorter buffer.
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

    /// Sends close_notify if the socket takes it at once. Not before the handshake is complete, nor after a fatal error
    /// (OpenSSL forbids both), nor behind records that were cut off.
    func sendCloseNotify() {
        guard !hasFailed, records.isEmpty, SSL_is_init_finished(ssl) == 1,
            SSL_get_shutdown(ssl) & SSL_SENT_SHUTDOWN == 0
        else { return }
        SSL_shutdown(ssl)
        ERR_clear_error()
    }

    /// Clears OpenSSL's error queue and errno, which `outcome` reads: the thread may be the host's, and have errors of
    /// the host's own calls.
    private func clearErrors() {
        ERR_clear_error()
        errno = 0
    }

    /// What a result of OpenSSL means, and what the socket must be ready for before the call is repeated.
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
            return (.failed(.tls(TLSFailure(reason: reason(during: what), cause: .temporary))), .read)
        }
    }

    private static let handshake = "the TLS handshake"

    private func reason(during what: String) -> String {
        defer { ERR_clear_error() }
        if what == Self.handshake {
            switch peer {
            case .client:
                if let reason = Self.handshakeFailure(OpenSSLError.firstReason) { return reason }
            case .server where OpenSSLError.firstReason == SSL_R_WRONG_VERSION_NUMBER:
                return "the server does not speak TLS on this port; is it ws:// instead of wss://?"
            case .server: break
            }
        }
        return "\(what) failed: \(OpenSSLError.takeReason())"
    }

    /// What the handshake has negotiated, for the `debug` function.
    var description: String {
        let version = String(cString: SSL_get_version(ssl))
        let cipher = String(cString: SSL_CIPHER_get_name(SSL_get_current_cipher(ssl)))
        let session = SSL_session_reused(ssl) == 1 ? "session resumed" : "new session"
        return "\(version), \(cipher), \(session), \(certificateDescription)"
    }

    private var certificateDescription: String {
        switch peer {
        case .client: clientCertificateDescription
        case .server(let name, _) where context.options.verifies: "verified as \(name)"
        case .server:
            "certificate not verified (tls.verify = false)" + (ignoredVerifyError.map { ": \($0)" } ?? "")
        }
    }
}
