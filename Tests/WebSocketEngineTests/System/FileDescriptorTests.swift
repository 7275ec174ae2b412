import Glibc
import Testing

@testable import WebSocketEngine

@Suite struct FileDescriptorTests {
    /// Two ends of a pipe: reading from the first tells whether the second is closed.
    private func makePipe() throws -> (Int32, Int32) {
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0 && fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0)
        return (ends[0], ends[1])
    }

    private func isClosed(_ reader: Int32) -> Bool {
        var byte: UInt8 = 0
        return read(reader, &byte, 1) == 0
    }

    @Test func isClosedWithItsOwner() throws {
        let (reader, writer) = try makePipe()
        defer { close(reader) }
        do {
            let descriptor = FileDescriptor(writer)
            let isOurs = descriptor.isOurs
            #expect(isOurs)
            #expect(!isClosed(reader))
        }
        #expect(isClosed(reader))
    }

    /// The host has closed it and opened another file, which got the number.
    @Test func anotherFileWithTheNumberStaysOpen() throws {
        let (reader, writer) = try makePipe()
        let (otherReader, otherWriter) = try makePipe()
        defer { for number in [reader, otherReader, otherWriter, writer] { close(number) } }
        do {
            let descriptor = FileDescriptor(writer)
            try #require(dup2(otherWriter, writer) == writer)
            let isOurs = descriptor.isOurs
            #expect(!isOurs)
            #expect(isClosed(reader))
        }
        // The number is still open: it writes to the other pipe.
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
