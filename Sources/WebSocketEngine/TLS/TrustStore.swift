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
        guard let store = Fork.whileBlocked({ X509_STORE_new() }) else { throw .outOfMemory }
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
        let latest = Mutex<TrustStore?>(nil)
    }

    private static let entries = Mutex<[Key: Entry]>([:])
    /// Stores that are kept; at this many all are forgotten.
    private static let maximum = 64

    /// The store for the option `tls.ca`, made anew if its files have changed. Reads files and blocks.
    static func current(_ ca: String?) throws(TLSFailure) -> TrustStore {
        let key = Key(ca: ca, generation: Fork.generation)
        let entry = Fork.whileBlocked {
            entries.withLock { entries in
                if let entry = entries[key] { return entry }
                if entries.count >= maximum { entries.removeAll() }
                let entry = Entry()
                entries[key] = entry
                return entry
            }
        }
        return try entry.latest.withLock { (latest) throws(TLSFailure) -> TrustStore in
            let files = stamps(ca)
            if let latest, latest.files == files { return latest }
            latest = nil
            let store = try TrustStore(files)
            if let ca { try store.read(ca) } else { try store.readSystem() }
            latest = store
            return store
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

    // MARK: - Reading

    private func read(_ ca: String) throws(TLSFailure) {
        guard !PEM.isText(ca), let names = try PEM.certificateFiles(inFolder: ca) else {
            let name = PEM.name(ca, "tls.ca")
            switch try addCertificates(of: try PEM.content(ca, name)) {
            case .complete: return
            case .none: throw TLSFailure(reason: "\(name) has no certificate in PEM form", cause: .options)
            case .broken: throw TLSFailure(reason: "\(name) has a broken certificate", cause: .options)
            }
        }
        guard try readAll(names) else {
            throw TLSFailure(
                reason: "the folder '\(quotedForError(ca))' of tls.ca has no certificates", cause: .options)
        }
    }

    /// Reads all files of the system now: OpenSSL itself would read the folder within a handshake.
    private func readSystem() throws(TLSFailure) {
        guard try !readAll(PEM.systemFiles()) else { return }
        throw TLSFailure(
            reason: "no certificates of CAs were found on this system; install them (ca-certificates) or give tls.ca",
            cause: .temporary)
    }

    /// Adds the certificates of the files, without those files that can't be used. Returns whether any could be.
    private func readAll(_ names: [String]) throws(TLSFailure) -> Bool {
        var hasAny = false
        for name in names {
            do throws(TLSFailure) {
                if case .complete = try addCertificates(of: try PEM.content(name, "the file '\(quotedForError(name))'"))
                {
                    hasAny = true
                }
            } catch {
                // Without this file's CAs the store would refuse servers until its files change.
                guard error.cause != .temporary else { throw error }
            }
        }
        return hasAny
    }

    private enum Reading { case complete, none, broken }

    /// Adds each certificate of a text. Fork is blocked for one certificate at a time.
    private func addCertificates(of text: [UInt8]) throws(TLSFailure) -> Reading {
        let source = try Fork.whileBlocked { () throws(TLSFailure) -> PEM in try PEM(text) }
        var count = 0
        while true {
            let isAdded = try Fork.whileBlocked { () throws(TLSFailure) -> Bool in
                guard let certificate = source.nextCertificate() else { return false }
                defer { X509_free(certificate) }
                guard X509_STORE_add_cert(store, certificate) == 1 else { throw .outOfMemory }
                return true
            }
            guard isAdded else { break }
            count += 1
        }
        return try Fork.whileBlocked { () throws(TLSFailure) -> Reading in
            defer { ERR_clear_error() }
            if OpenSSLError.isOutOfMemory { throw .outOfMemory }
            guard source.isAtEnd else { return .broken }
            return count > 0 ? .complete : .none
        }
    }
}
