// OpenSSL's error queue, of which each thread has its own. Called right behind a call of OpenSSL, on the same thread.

import COpenSSL
import CLinux
import Glibc

enum OpenSSLError {
    /// The oldest error of this thread, in OpenSSL's or the system's words. Empties the queue.
    static func takeReason() -> String {
        let code = ERR_get_error()
        defer { ERR_clear_error() }
        guard code != 0 else { return "no reason is known" }
        // ERR_GET_REASON, ERR_SYSTEM_ERROR: macros that are not imported.
        if code & 0x8000_0000 != 0 { return SystemError.message(Int32(code & 0x7FFF_FFFF)) }
        return ERR_reason_error_string(code).map { String(cString: $0) } ?? "error \(String(code, radix: 16))"
    }

    /// The number of the oldest error (ERR_GET_REASON), or 0.
    static var firstReason: Int32 { Int32(ERR_peek_error() & 0x7F_FFFF) }

    /// Whether a failed allocation is the oldest error or the newest: a parser adds its own errors behind it.
    /// (ERR_R_MALLOC_FAILURE: a macro that is not imported.)
    static var isOutOfMemory: Bool {
        ERR_peek_error() & 0x7F_FFFF == WS_ERR_R_MALLOC_FAILURE
            || ERR_peek_last_error() & 0x7F_FFFF == WS_ERR_R_MALLOC_FAILURE
    }

    /// Whether the newest error is this one.
    static func isLast(_ reason: Int32) -> Bool { Int32(ERR_peek_last_error() & 0x7F_FFFF) == reason }
}
