// OpenSSL's start, before its first use: a thread of TLSContextCache calls it.

import COpenSSL

enum OpenSSL {
    /// Starts OpenSSL once. At the end of the process OpenSSL frees its memory, perhaps before the engine's own exit
    /// handler runs: so the engine stops first.
    static let started: Void = {
        // If the host has not started OpenSSL, nothing frees it.
        OPENSSL_init_crypto(UInt64(OPENSSL_INIT_NO_ATEXIT), nil)
        OPENSSL_atexit { Engine.shutDown() }
    }()
}
