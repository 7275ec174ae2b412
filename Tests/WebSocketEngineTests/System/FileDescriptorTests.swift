import CLinux
import Glibc
import Testing

@testable import WebSocketEngine

@Suite struct FileDescriptorTests {
    // Reading from the first socket of a pair tells whether the second is closed.

    private func isOpen(_ reader: Int32) -> Bool {
        var byte: UInt8 = 0
        return read(reader, &byte, 1) == -1 && errno == EAGAIN
    }

    /// A process that is being started has the sockets for a moment.
    private func isClosedSoon(_ reader: Int32) -> Bool {
        var byte: UInt8 = 0
        var entry = pollfd(fd: reader, events: Int16(POLLIN), revents: 0)
        return retrying { Int(poll(&entry, 1, 10_000)) } == 1 && read(reader, &byte, 1) == 0
    }

    @Test func isClosedWithItsOwner() throws {
        let (reader, writer) = try makeSocketPair()
        defer { close(reader) }
        do {
            let descriptor = FileDescriptor(writer)
            let isOurs = descriptor.isOurs
            #expect(isOurs)
            #expect(isOpen(reader))
        }
        #expect(isClosedSoon(reader))
    }

    /// The host has closed it and opened another file, which got the number.
    @Test func anotherFileWithTheNumberStaysOpen() throws {
        let (reader, writer) = try makeSocketPair()
        let (otherReader, otherWriter) = try makeSocketPair()
        defer { for number in [reader, otherReader, otherWriter, writer] { close(number) } }
        do {
            let descriptor = FileDescriptor(writer)
            try #require(dup2(otherWriter, writer) == writer)
            let isOurs = descriptor.isOurs
            #expect(!isOurs)
            #expect(isClosedSoon(reader))
        }
        // The number is still open: it writes to the other socket.
        #expect(write(writer, "x", 1) == 1)
        var byte: UInt8 = 0
        #expect(read(otherReader, &byte, 1) == 1)
    }

    @Test func aFailedCallIsThrown() {
        #expect(throws: SystemError("open", ENOENT)) {
            _ = try FileDescriptor(open("/nowhere/at/all", O_RDONLY), from: "open").number
        }
    }
}
