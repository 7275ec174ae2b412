// One owner for each descriptor; closed when the owner goes. A host may close descriptors that are not its own, as daemons
// do, and its next file then has one of our numbers: `isOurs` is checked before a descriptor is closed, and before an
// eventfd is written to.

import Glibc

struct FileDescriptor: ~Copyable {
    let number: Int32
    /// Of the file behind the number. Sockets have one each; eventfds, timerfds and epolls share one.
    private let inode: ino_t

    init(_ number: Int32) {
        self.number = number
        inode = Self.inode(of: number)
    }

    /// What `call` has returned.
    init(_ number: Int32, from call: String) throws(SystemError) {
        guard number >= 0 else { throw SystemError(call) }
        self.init(number)
    }

    deinit {
        if isOurs { close(number) }
    }

    /// Whether the number still stands for the file that it was made for.
    var isOurs: Bool { inode != 0 && Self.inode(of: number) == inode }

    /// 0 when there is none.
    private static func inode(of number: Int32) -> ino_t {
        var status = stat()
        return fstat(number, &status) == 0 ? status.st_ino : 0
    }
}
