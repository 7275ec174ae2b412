// The file that the environment variable SSLKEYLOGFILE names, as for curl: with the secrets in it, programs such as Wireshark
// decrypt recorded connections. TLSContext opens it, on the thread that makes the context, and appends on the thread that
// runs the loop. A short-lived thread writes, since a disk may not answer.

import CLinux
import Dispatch
import Glibc

final class KeyLog: Sendable {
    private struct Lines {
        var bytes: [UInt8] = []
        var haveThread = false
    }

    private let file: FileDescriptor
    /// Those that are not written yet.
    private let lines = Mutex(Lines())
    /// At the end of the process the engine waits for these threads.
    private let threads: DispatchGroup
    /// Bytes that wait for a disk. Further lines are dropped.
    private static let maximum = 1 << 20

    private init(_ file: consuming FileDescriptor, _ threads: DispatchGroup) {
        self.file = file
        self.threads = threads
    }

    /// nil if the file can't be used: it is then ignored, as by curl. Only a regular file is used: a write to a FIFO could
    /// block, or end the process by a signal.
    static func open(_ path: String, _ threads: DispatchGroup) -> KeyLog? {
        // O_NONBLOCK: opening a FIFO would wait for its reader.
        let flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK
        let number = path.withCString { path in Fork.whileAllowed { Glibc.open(path, flags, 0o600) } }
        guard number >= 0 else { return nil }
        let file = Fork.whileAllowed { FileDescriptor(number) }
        var status = stat()
        guard Fork.whileAllowed({ fstat(number, &status) }) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        return KeyLog(file, threads)
    }

    /// Appends a line, such as `CLIENT_HANDSHAKE_TRAFFIC_SECRET`, the client's random bytes, the secret (NSS key log format).
    func append(_ line: UnsafePointer<CChar>) {
        let needsThread = lines.withLock { lines in
            guard lines.bytes.count < Self.maximum else { return false }
            lines.bytes += UnsafeRawBufferPointer(start: line, count: strlen(line))
            lines.bytes.append(0x0A)
            defer { lines.haveThread = true }
            return !lines.haveThread
        }
        guard needsThread else { return }
        threads.enter()
        do throws(SystemError) {
            try startThread { [self] in
                while let bytes = next() { Fork.whileAllowed { write(bytes) } }
                threads.leave()
            }
        } catch {
            // The next line tries again.
            lines.withLock { $0.haveThread = false }
            threads.leave()
        }
    }

    /// nil when all lines are written: the thread ends.
    private func next() -> [UInt8]? {
        lines.withLock { lines in
            var bytes: [UInt8] = []
            swap(&bytes, &lines.bytes)
            lines.haveThread = !bytes.isEmpty
            return bytes.isEmpty ? nil : bytes
        }
    }

    /// Whole lines in one write, so that no other process's line comes into the middle.
    private func write(_ bytes: [UInt8]) {
        if file.isOurs { _ = retrying { Glibc.write(file.number, bytes, bytes.count) } }
    }
}
