// One owner for each descriptor; closed when the owner goes.

import Glibc

struct FileDescriptor: ~Copyable {
    let number: Int32

    init(_ number: Int32) { self.number = number }

    deinit { close(number) }
}
