// The CA certificates that TLS trusts, of a file, a folder, a text or the system: parsed once for all contexts with the
// same option `tls.ca`. The threads of TLSContextCache make and find stores; they may block, the one that runs the loop
// never comes here.

import COpenSSL
import WebSocketProtocol

// Sendable: complete before it is shared; from then on OpenSSL's own lock protects it.
final class TrustStore: @unchecked Sendable {
    /// An X509_STORE.
    let store: OpaquePointer
    /// The files that it was made of, with their stamps at that time.
    private let files: [String: FileStamp?]

    private init(_ files: [String: FileStamp?]) throws(TLSFailure) {
        guard let store = X509_STORE_new() else { throw .outOfMemory }
        self.store = store
        self.files = files
    }

    deinit { X509_STORE_free(store) }

    // MARK: - Shared stores

    private struct Key: Hashable {
        /// The option `tls.ca`; nil: the system's CAs.
        let ca: String?
        /// In a child of fork the parent's entries may be locked by threads that the child does not have.
        let generation: Int32
    }

    /// The latest store for one key. Its lock is held while files are read: other threads with the same key wait for
    /// the result.
    private final class Entry: Sendable {
        let latest = Mutex<TrustStore?>(nil, level: .outer)
    }

    private static let entries = Mutex<[Key: Entry]>([:])
    /// Stores that are kept; at this many all are forgotten.
    private static let maximum = 64

    /// The store for the option `tls.ca`, made anew if its files have changed. Reads files and blocks.
    static func current(_ ca: String?) throws(TLSFailure) -> TrustStore {
        let key = Key(ca: ca, generation: Fork.generation)
        let entry = entries.withLock { entries in
            if let entry = entries[key] { return entry }
            if entries.count >= maximum { entries.removeAll() }
            let entry = Entry()
            entries[key] = entry
            return entry
        }
        return try Fork.whileAllowed { () throws(TLSFailure) -> TrustStore in
            try entry.latest.withLock { (latest) throws(TLSFailure) -> TrustStore in
                try Fork.whileBlocked { () throws(TLSFailure) -> TrustStore in
                    let files = stamps(ca)
                    if let latest, latest.files == files { return latest }
                    latest = nil
                    let store = try TrustStore(files)
                    try store.read(ca)
                    latest = store
                    return store
                }
            }
        }
    }

    /// Whether the store never changes: the option names no file or folder.
    static func isFixed(_ ca: String?) -> Bool { ca.map(PEM.isText) ?? true }

    /// The stamps of the files that the option names; empty for the system's, which are read once.
    private static func stamps(_ ca: String?) -> [String: FileStamp?] {
        guard let ca, !isFixed(ca) else { return [:] }
        let files = [ca] + ((try? PEM.certificateFiles(inFolder: ca)) ?? [])
        return Dictionary(files.map { ($0, FileStamp($0)) }) { first, _ in first }
    }

    /// Whether the files of the option, which is that of this store, are still the same. Reads folders.
    func matchesFiles(of ca: String?) -> Bool { Self.stamps(ca) == files }

    // MARK: - Reading

    private func read(_ ca: String?) throws(TLSFailure) {
        guard let ca else { return try readSystem() }
        guard !PEM.isText(ca), let names = try PEM.certificateFiles(inFolder: ca) else {
            let name = PEM.name(ca, "tls.ca")
            switch try addCertificates(of: try PEM(ca, name)) {
            case .complete: return
            case .none: throw TLSFailure(reason: "\(name) has no certificate in PEM form", cause: .options)
            case .broken: throw TLSFailure(reason: "\(name) has a broken certificate", cause: .options)
            }
        }
        let (hasAny, broken) = try readAll(names)
        guard broken == nil else {
            throw TLSFailure(reason: "\(PEM.name(broken!, "tls.ca")) has a broken certificate", cause: .options)
        }
        guard hasAny else {
            throw TLSFailure(
                reason: "the folder '\(quotedForError(ca))' of tls.ca has no certificates", cause: .options)
        }
    }

    /// Reads all files of the system now: OpenSSL itself would read the folder within a handshake.
    private func readSystem() throws(TLSFailure) {
        let (hasAny, broken) = try readAll(PEM.systemFiles())
        guard !hasAny else { return }
        throw TLSFailure(
            reason: broken.map { "the file '\(quotedForError($0))' has a broken certificate" }
                ?? "no certificates of CAs were found on this system; install them (ca-certificates) or give tls.ca",
            cause: .temporary)
    }

    /// Adds the certificates of the files, except of those that can't be read or that have a broken certificate.
    /// Returns whether there were any, and the first file that has a broken one.
    private func readAll(_ names: [String]) throws(TLSFailure) -> (hasAny: Bool, broken: String?) {
        var hasAny = false
        var broken: String?
        for name in names {
            do throws(TLSFailure) {
                switch try addCertificates(of: try PEM(name, "the file '\(quotedForError(name))'")) {
                case .complete: hasAny = true
                case .none: break
                case .broken: broken = broken ?? name
                }
            } catch {
                // Without this file's CAs the store would refuse servers until its files change.
                guard error.cause != .temporary else { throw error }
            }
        }
        return (hasAny, broken)
    }

    private enum Reading { case complete, none, broken }

    /// Adds the certificates of a text, or none of them if one is broken. A fork waits for one certificate at most.
    private func addCertificates(of source: PEM) throws(TLSFailure) -> Reading {
        guard let certificates = OPENSSL_sk_new_null() else { throw .outOfMemory }
        defer { OPENSSL_sk_pop_free(certificates) { X509_free(OpaquePointer($0)) } }
        while let certificate = try source.nextCertificate() {
            guard OPENSSL_sk_push(certificates, UnsafeRawPointer(certificate)) > 0 else {
                X509_free(certificate)
                throw .outOfMemory
            }
            Fork.whileAllowed {}
        }
        defer { ERR_clear_error() }
        if OpenSSLError.isOutOfMemory { throw .outOfMemory }
        guard source.isAtEnd, !source.hasBrokenBeginning else { return .broken }
        let count = OPENSSL_sk_num(certificates)
        for index in 0..<count {
            guard X509_STORE_add_cert(store, OpaquePointer(OPENSSL_sk_value(certificates, index))) == 1 else {
                throw .outOfMemory
            }
            Fork.whileAllowed {}
        }
        return count == 0 ? .none : .complete
    }
}
