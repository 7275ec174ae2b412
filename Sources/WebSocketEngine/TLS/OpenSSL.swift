// OpenSSL's start, before its first use: a thread of TLSContextCache calls it.

import COpenSSL
import Synchronization

enum OpenSSL {
    /// Starts OpenSSL once. At the end of the process OpenSSL frees its memory, perhaps before the engine's own exit
    /// handler runs: so the engine stops first.
    private static let started: Void = {
        // If the host has not started OpenSSL, nothing frees it.
        OPENSSL_init_crypto(UInt64(OPENSSL_INIT_NO_ATEXIT), nil)
        OPENSSL_atexit { Engine.shutDown() }
    }()

    private static let isConfigurationRead = Atomic(false)

    /// To be called before other functions of OpenSSL. Reads a file and blocks, until OpenSSL has its configuration.
    static func start() {
        if !isConfigurationRead.load(ordering: .relaxed) { awaitConfiguration() }
        _ = started
    }

    /// OpenSSL reads its configuration at its first use, while it holds locks for which fork waits. So the file is read here first:
    /// a disk that does not answer keeps this thread only.
    private static func awaitConfiguration() {
        guard let name = CONF_get1_default_config_file() else { return }
        defer { CRYPTO_free(name, nil, 0) }
        _ = try? PEM.read(String(cString: name))
        isConfigurationRead.store(true, ordering: .relaxed)
    }
}
