// Certificates and keys as text (RFC 7468): parses it, and reads it from files and folders. TLSContext and TrustStore
// use it on threads that may block, never on the one that runs the loop.

import COpenSSL
import CLinux
import Glibc
import WebSocketProtocol

final class PEM {
    private let text: ByteBuffer
    /// Reads `text`.
    private let bio: OpaquePointer

    private init(_ text: consuming ByteBuffer) throws(TLSFailure) {
        var text = text
        // OpenSSL takes no null pointer, not even for an empty text.
        guard text.reserve(1), let bio = BIO_new_mem_buf(text.bytes.baseAddress, Int32(text.count)) else {
            throw .outOfMemory
        }
        self.text = text
        self.bio = bio
    }

    deinit { BIO_free(bio) }

    // MARK: - Parsing

    /// The next certificate (X509), which the caller frees; nil at the end, or if the next one is broken.
    func nextCertificate() throws(TLSFailure) -> OpaquePointer? {
        guard let certificate = PEM_read_bio_X509_AUX(bio, nil, { _, _, _, _ in -1 }, nil) else { return nil }
        guard !Certificate.hasLostKey(certificate) else {
            X509_free(certificate)
            throw .outOfMemory
        }
        return certificate
    }

    /// After `nextCertificate` has returned nil: true if OpenSSL found no more.
    var isAtEnd: Bool { OpenSSLError.isLast(PEM_R_NO_START_LINE) }

    /// Whether OpenSSL skips a certificate or key because its first line is indented, has no dashes at its end, or is cut
    /// off by the end of the text.
    var hasBrokenBeginning: Bool {
        let begin: StaticString = "-----BEGIN"
        return begin.withUTF8Buffer { begin in
            var rest = UnsafeRawBufferPointer(text.bytes)[...]
            while !rest.isEmpty {
                let line = rest.prefix { $0 != 0x0A }
                let isLast = line.endIndex == rest.endIndex
                if isLast, begin.starts(with: line) { return true }
                rest = rest[line.endIndex...].dropFirst()
                let marked = line.drop { $0 <= 0x20 }
                guard marked.starts(with: begin) else { continue }
                let trailing = line.reversed().drop { $0 <= 0x20 }
                guard marked.count == line.count, trailing.starts(with: begin.prefix(5)) else { return true }
            }
            return false
        }
    }

    /// Begins again with the first certificate or key.
    func rewind() { BIO_ctrl(bio, BIO_CTRL_RESET, 0, nil) }

    /// The first private key (EVP_PKEY), which the caller frees, and whether it is encrypted.
    func privateKey(password: String?) -> (key: OpaquePointer?, wasAsked: Bool) {
        let password = Password(password)
        let key = PEM_read_bio_PrivateKey(
            bio, nil, { buffer, size, _, password in Password.copy(password, to: buffer, size) },
            Unmanaged.passUnretained(password).toOpaque())
        return (key, password.wasAsked)
    }

    /// OpenSSL asks for the password by a callback; without one it would ask on the terminal.
    private final class Password {
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

    // MARK: - Files and folders

    /// Bytes; larger files are refused.
    private static let maximumSize = 16 << 20

    /// Whether an option has the text itself, not the name of a file.
    /// By strstr: String.contains would link the engine of regular expressions, 1.4 MB.
    static func isText(_ text: String) -> Bool { strstr(text, "-----BEGIN ") != nil }

    /// What errors call the text or the file that an option gives.
    static func name(_ text: String, _ option: String) -> String {
        // Several lines may be a key whose first line is missing: no secret is shown.
        isText(text) || text.utf8.contains(0x0A) ? option : "the file '\(quotedForError(text))' of \(option)"
    }

    /// Of the text, or of the file with this name.
    /// - Parameter name: for errors.
    convenience init(_ text: String, _ name: String) throws(TLSFailure) {
        if Self.isText(text) {
            guard text.utf8.count <= Self.maximumSize else {
                throw TLSFailure(reason: "\(name) is too large: \(text.utf8.count) bytes", cause: .options)
            }
            var bytes = ByteBuffer()
            guard bytes.append(text) else { throw .outOfMemory }
            try self.init(bytes)
        } else {
            let bytes: ByteBuffer
            do throws(SystemError) { bytes = try Self.read(text) } catch {
                throw TLSFailure(
                    reason: "\(name) can't be read: \(SystemError.message(error.number))",
                    cause: Self.cause(error.number))
            }
            try self.init(bytes)
        }
    }

    /// Errors of the file itself are the option's fault; all others may pass.
    private static func cause(_ number: Int32) -> TLSFailure.Cause {
        switch number {
        case ENOENT, ENOTDIR, EACCES, EPERM, EISDIR, EINVAL, EFBIG, ENAMETOOLONG, ELOOP: .options
        default: .temporary
        }
    }

    /// Reads a regular file; a pipe or a device could block for ever. Forks are allowed during the system calls only.
    static func read(_ name: String) throws(SystemError) -> ByteBuffer {
        let number = name.withCString { name in Fork.whileAllowed { open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC) } }
        guard number >= 0 else { throw SystemError("open") }
        let file = Fork.whileAllowed { FileDescriptor(number) }
        var status = stat()
        guard Fork.whileAllowed({ fstat(file.number, &status) }) == 0 else { throw SystemError("fstat") }
        guard status.st_mode & S_IFMT != S_IFDIR else { throw SystemError("open", EISDIR) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw SystemError("open", EINVAL) }
        guard status.st_size <= maximumSize else { throw SystemError("open", EFBIG) }
        var bytes = ByteBuffer()
        let size = Int(status.st_size)
        guard bytes.reserve(size) else { throw SystemError("realloc", ENOMEM) }
        while bytes.count < size {
            let space = bytes.writableBytes.baseAddress
            let left = size - bytes.count
            let read = Fork.whileAllowed { retrying { Glibc.read(number, space, left) } }
            guard read >= 0 else { throw SystemError("read") }
            guard read > 0 else { break }
            bytes.didWrite(read)
        }
        return bytes
    }

    /// The paths of the certificate files in a folder: those named by c_rehash, or if there are none, `.pem`, `.crt`
    /// and `.cer`. nil if this is no folder.
    static func certificateFiles(inFolder name: String) throws(TLSFailure) -> [String]? {
        func failure() -> TLSFailure {
            TLSFailure(
                reason: "the folder '\(quotedForError(name))' can't be read: \(SystemError.message(errno))",
                cause: cause(errno))
        }
        guard let folder = name.withCString({ name in Fork.whileAllowed { opendir(name) } }) else {
            guard cause(errno) != .temporary else { throw failure() }
            return nil
        }
        defer { closedir(folder) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = Fork.whileAllowed({ readdir(folder) }) else {
                guard errno == 0 else { throw failure() }
                break
            }
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) {
                    String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
                })
        }
        let hashed = names.filter(isHash)
        let files =
            hashed.isEmpty ? names.filter { name in [".pem", ".crt", ".cer"].contains { name.hasSuffix($0) } } : hashed
        return files.sorted().map { "\(name)/\($0)" }
    }

    /// `0a1b2c3d.0`, as c_rehash names files: the hash of the subject and a number.
    private static func isHash(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        return bytes.count >= 10 && bytes[8] == UInt8(ascii: ".")
            && bytes[..<8].allSatisfy { Character(Unicode.Scalar($0)).isHexDigit }
            && bytes[9...].allSatisfy { (0x30...0x39).contains($0) }
    }

    /// The files of the CAs that the system trusts, where OpenSSL itself would look.
    static func systemFiles() throws(TLSFailure) -> [String] {
        func place(
            _ variable: UnsafePointer<CChar>?, _ standard: UnsafePointer<CChar>?
        ) throws(TLSFailure) -> String {
            if let variable, let value = getenv(variable) {
                guard let path = String(validatingCString: value) else {
                    throw TLSFailure(reason: "the environment's \(String(cString: variable)) is not UTF-8")
                }
                return path
            }
            return standard.map { String(cString: $0) } ?? ""
        }
        var files = [try place(X509_get_default_cert_file_env(), X509_get_default_cert_file())]
        for folder in try place(X509_get_default_cert_dir_env(), X509_get_default_cert_dir()).split(separator: ":") {
            files += try Self.certificateFiles(inFolder: String(folder)) ?? []
        }
        return files
    }
}
