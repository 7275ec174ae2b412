// Tells whether a number or a path still stands for the same file. A value, made on any thread.

import CLinux
import Glibc

struct FileIdentity: Equatable {
    private let device: dev_t
    private let inode: ino_t

    /// nil and errno when the system does not tell: EBADF if the number is not open.
    init?(_ descriptor: Int32) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        self.init(status)
    }

    /// nil when there is no such file. A symbolic link is a file of its own.
    init?(path: String) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return nil }
        self.init(status)
    }

    private init(_ status: stat) {
        device = status.st_dev
        inode = status.st_ino
    }
}
