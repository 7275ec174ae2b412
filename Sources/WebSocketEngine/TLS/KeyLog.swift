// The file that the environment variable SSLKEYLOGFILE names, as for curl: with the secrets in it, programs such as Wireshark
// decrypt recorded connections. TLSContext opens it, on the thread that makes the context, and writes to it on the thread
// that runs the loop.

import CLinux
import Glibc

struct KeyLog: ~Copyable {
    private let file: FileDescriptor

    /// nil if the file can't be used: it is then ignored, as by curl. Only a regular file is used: a write to a FIFO could
    /// block, or end the process by a signal.
    static func open(_ path: String) -> KeyLog? {
        // O_NONBLOCK: opening a FIFO would wait for its reader.
        let flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK
        let number = path.withCString { path in Fork.whileAllowed { Glibc.open(path, flags, 0o600) } }
        guard number >= 0 else { return nil }
        let file = Fork.whileAllowed { FileDescriptor(number) }
        var status = stat()
        guard Fork.whileAllowed({ fstat(number, &status) }) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        return KeyLog(file: file)
    }

    /// Appends a line, such as `CLIENT_HANDSHAKE_TRAFFIC_SECRET`, the client's random bytes, the secret (NSS key log format).
    /// One write, so that no other process's line comes into the middle.
    func append(_ line: UnsafePointer<CChar>) {
        guard file.isOurs else { return }
        let bytes = Array(UnsafeRawBufferPointer(start: line, count: strlen(line))) + [0x0A]
        _ = retrying { write(file.number, bytes, bytes.count) }
    }
}
