// Whom TLS trusts: the CA certificates of a file, a folder, a text or the system, parsed once for all contexts that trust the
// same. Made and looked for on threads that may wait for files, never on the loop's.

import COpenSSL
import WebSocketProtocol

// Sendable: complete when it is made; from then on OpenSSL locks it itself.
final class TrustStore: @unchecked Sendable {
    /// An X509_STORE.
    let store: OpaquePointer
    /// The files that it was made of, as they were.
    private let files: [String: FileStamp?]

    private init(_ files: [String: FileStamp?]) throws(TLSFailure) {
        guard let store = Fork.whileBlocked({ X509_STORE_new() }) else { throw .outOfMemory }
        self.store = store
        self.files = files
    }

    deinit { X509_STORE_free(store) }

    // MARK: - One for all

    private struct Key: Hashable {
        /// The option tls.ca; nil: the system's.
        let ca: String?
        /// In a child of fork the parent's locks may be held by nobody.
        let generation: Int32
    }

    /// The latest store for one key; its lock is held while files are read, by those that need them.
    private final class Entry: Sendable {
        let latest = Mutex<TrustStore?>(nil)
    }

    private static let entries = Mutex<[Key: Entry]>([:])
    /// Stores that are kept; more are made anew each time.
    private static let maximum = 64

    /// The store for the option tls.ca, made anew when its files have changed. Waits for files.
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

    /// Whether the store never changes: it is not made of files that the option names.
    static func isFixed(_ ca: String?) -> Bool { ca.map(PEM.isText) ?? true }

    /// Of the files that the option names; the system's are read once.
    private static func stamps(_ ca: String?) -> [String: FileStamp?] {
        guard let ca, !isFixed(ca) else { return [:] }
        let files = [ca] + ((try? PEM.certificateFiles(inFolder: ca)) ?? [])
        return Dictionary(files.map { ($0, FileStamp($0)) }) { first, _ in first }
    }

    // MARK: - Reading

    private func read(_ ca: String) throws(TLSFailure) {
        guard !PEM.isText(ca), let names = try PEM.certificateFiles(inFolder: ca) else {
            let name = PEM.name(ca, "tls.ca")
            switch try trust(try PEM.content(ca, name)) {
            case .whole: return
            case .none: throw TLSFailure(reason: "\(name) has no certificate in PEM form", cause: .options)
            case .broken: throw TLSFailure(reason: "\(name) has a broken certificate", cause: .options)
            }
        }
        guard try readAll(names) else {
            throw TLSFailure(
                reason: "the folder '\(quotedForError(ca))' of tls.ca has no certificates", cause: .options)
        }
    }

    /// All of it now: OpenSSL would look into the folder in the middle of a handshake.
    private func readSystem() throws(TLSFailure) {
        guard try !readAll(PEM.systemFiles()) else { return }
        throw TLSFailure(
            reason: "no certificates of CAs were found on this system; install them (ca-certificates) or give tls.ca",
            cause: .temporary)
    }

    /// Trusts what the files have, but for those that can't be used. Returns whether any can.
    private func readAll(_ names: [String]) throws(TLSFailure) -> Bool {
        var hasAny = false
        for name in names {
            do throws(TLSFailure) {
                if case .whole = try trust(try PEM.content(name, "the file '\(quotedForError(name))'")) {
                    hasAny = true
                }
            } catch {
                // A store with a hole would refuse servers for good.
                guard error.cause != .temporary else { throw error }
            }
        }
        return hasAny
    }

    private enum Reading { case whole, none, broken }

    /// Trusts each certificate of a text. Between two of them a fork may come.
    private func trust(_ text: [UInt8]) throws(TLSFailure) -> Reading {
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
            return count > 0 ? .whole : .none
        }
    }
}
