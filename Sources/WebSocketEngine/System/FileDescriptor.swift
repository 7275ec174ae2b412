// Owns one descriptor and closes it. Used on any thread, by one owner at a time; a reference is for use beside the owner's.
//
// A host may close descriptors that it did not open, as daemons do, and the next file that it opens then has the same number.
// So `isOurs` is asked before a descriptor is closed, and before bytes are written to it (or a mark: SocketWriter.swift).

import CLinux
import Glibc

/// The number of an open descriptor, and what it stands for. To be used only while the owner has not closed it.
struct DescriptorReference {
    let number: Int32
    /// The open file. Each file, pipe and socket has an inode of its own; all eventfds, timerfds and epoll descriptors share
    /// one, so they have other owners: TimerDescriptor and EpollDescriptor. nil if the system did not tell.
    private let file: FileIdentity?

    init(_ number: Int32) {
        self.number = number
        file = FileIdentity(number)
    }

    /// False when the number is closed, or stands for another file than at first.
    var isOurs: Bool {
        guard let now = FileIdentity(number) else {
            // A sandbox may forbid fstat.
            return [EPERM, EACCES, ENOSYS].contains(errno)
        }
        return file == nil || now == file
    }
}

struct FileDescriptor: ~Copyable {
    let reference: DescriptorReference

    init(_ number: Int32) { reference = DescriptorReference(number) }

    /// Takes the result of the system call `call`, and throws its error when the result is negative.
    init(_ number: Int32, from call: String) throws(SystemError) {
        guard number >= 0 else { throw SystemError(call) }
        self.init(number)
    }

    deinit {
        if isOurs { close(number) }
    }

    var number: Int32 { reference.number }

    /// See `DescriptorReference.isOurs`.
    var isOurs: Bool { reference.isOurs }

    /// -1 when the number is not ours.
    var numberIfOurs: Int32 { isOurs ? number : -1 }
}
