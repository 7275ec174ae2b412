// A system call that failed: its name and errno. Thrown on any thread.

import CLinux
import Glibc

public struct SystemError: Error, Equatable, Sendable {
    public let call: String
    public let number: Int32

    init(_ call: String, _ number: Int32 = errno) {
        self.call = call
        self.number = number
    }

    /// The system's words for an error number.
    static func message(_ number: Int32) -> String { String(cString: strerror(number)) }

    public var description: String { "\(call): \(Self.message(number))" }
}

/// The result of a call that a signal may interrupt, repeated until it is none.
@inline(__always)
func retrying(_ call: () -> Int) -> Int {
    while true {
        let result = call()
        if result >= 0 || errno != EINTR { return result }
    }
}
