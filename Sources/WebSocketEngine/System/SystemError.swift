// The error of a failed system call: the call's name and errno. Thrown on any thread.

import CLinux
import Glibc

public struct SystemError: Error, Equatable, Sendable {
    public let call: String
    public let number: Int32

    init(_ call: String, _ number: Int32 = errno) {
        self.call = call
        self.number = number
    }

    /// The C library's text for an errno.
    static func message(_ number: Int32) -> String { String(cString: strerror(number)) }

    public var description: String { "\(call): \(Self.message(number))" }
}

/// Memory for `free`, at a multiple of 64. Swift's own `allocate` would end the process for lack of memory.
func allocate(_ count: Int) throws(SystemError) -> UnsafeMutableRawBufferPointer {
    var memory: UnsafeMutableRawPointer?
    let number = posix_memalign(&memory, 64, count)
    guard number == 0 else { throw SystemError("posix_memalign", number) }
    return UnsafeMutableRawBufferPointer(start: memory, count: count)
}

/// Repeats a system call as long as a signal interrupts it.
@inline(__always)
func retrying(_ call: () -> Int) -> Int {
    while true {
        let result = call()
        if result >= 0 || errno != EINTR { return result }
    }
}
