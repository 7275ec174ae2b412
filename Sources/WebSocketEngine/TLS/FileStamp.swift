// Identifies one version of a file: two equal stamps are of the same bytes. Made where files are read, never on the
// thread that runs the loop; TLSContext and TrustStore compare them.

import CLinux
import Glibc

struct FileStamp: Equatable {
    private let device: UInt64
    private let inode: UInt64
    private let size: Int64
    private let seconds: Int
    private let nanoseconds: Int

    /// nil if there is no such file.
    init?(_ path: String) {
        var status = stat()
        guard path.withCString({ path in Fork.whileAllowed { stat(path, &status) } }) == 0 else { return nil }
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        size = Int64(status.st_size)
        // ctime: the last change of the bytes, the name or the owner.
        seconds = Int(status.st_ctim.tv_sec)
        nanoseconds = Int(status.st_ctim.tv_nsec)
    }
}
