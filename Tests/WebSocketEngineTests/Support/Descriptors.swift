// Sockets and pipes without a server, and descriptors that the host has replaced. Called on the thread of the test.

import CLinux
import Glibc
import Testing

/// Two connected sockets that do not block; the caller closes them. Other tests start processes, which do not inherit them.
func makeSocketPair() throws -> (Int32, Int32) {
    var numbers: [Int32] = [-1, -1]
    let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    try #require(socketpair(AF_UNIX, type, 0, &numbers) == 0)
    return (numbers[0], numbers[1])
}

/// The two ends of a pipe, which do not block; the caller closes them.
func makePipe() throws -> (reader: Int32, writer: Int32) {
    var numbers: [Int32] = [-1, -1]
    try #require(pipe(&numbers) == 0)
    for number in numbers {
        try #require(fcntl(number, F_SETFL, O_NONBLOCK) == 0 && fcntl(number, F_SETFD, FD_CLOEXEC) == 0)
    }
    return (numbers[0], numbers[1])
}

/// Has the descriptor's number stand for /dev/null, as when a host closed it and opened a file. Its owner will not close it:
/// the caller must. (The number itself must not become free: another test could get it.)
func replaceDescriptor(_ number: Int32) throws {
    let null = open("/dev/null", O_RDWR)
    try #require(null >= 0 && dup2(null, number) == number)
    close(null)
}
