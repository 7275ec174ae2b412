// Owns one descriptor and closes it. Used on any thread, by one owner at a time.
//
// A host may close descriptors that it did not open, as daemons do, and the next file that it opens then has the same number.
// So `isOurs` is checked before a descriptor is closed or an eventfd is written.

import CLinux
import Glibc

struct FileDescriptor: ~Copyable {
    let number: Int32
    /// Inode of the open file. Each socket has its own; all eventfds, timerfds and epoll descriptors share one.
    private let inode: ino_t

    init(_ number: Int32) {
        self.number = number
        inode = Self.inode(of: number)
    }

    /// Takes the result of the system call `call`, and throws its error when the result is negative.
    init(_ number: Int32, from call: String) throws(SystemError) {
        guard number >= 0 else { throw SystemError(call) }
        self.init(number)
    }

    deinit {
        if isOurs { close(number) }
    }

    /// False when the number is closed, or stands for another file than at first.
    var isOurs: Bool { inode != 0 && Self.inode(of: number) == inode }

    /// -1 when the number is not ours.
    var numberIfOurs: Int32 { isOurs ? number : -1 }

    /// Returns 0 when the number is not open.
    private static func inode(of number: Int32) -> ino_t {
        var status = stat()
        return fstat(number, &status) == 0 ? status.st_ino : 0
    }
}
