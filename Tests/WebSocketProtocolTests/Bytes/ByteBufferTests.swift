import Glibc
import Testing

@testable import WebSocketProtocol

@Suite struct ByteBufferTests {
    @Test func aNewBufferIsEmpty() {
        let buffer = ByteBuffer()
        #expect(buffer.array == [])
        #expect(buffer.count == 0)
        #expect(buffer.capacity == 0)
        #expect(buffer.writableBytes.count == 0)
    }

    @Test func bytesComeOutInOrder() {
        var buffer = ByteBuffer([1, 2, 3])
        buffer.append([4])
        buffer.append("5")
        #expect(buffer.array == [1, 2, 3, 4, 0x35])
        buffer.didRead(2)
        #expect(buffer.array == [3, 4, 0x35])
        #expect(buffer.count == 3)
    }

    @Test func whatIsWrittenIntoSpaceCounts() {
        var buffer = ByteBuffer([1])
        buffer.reserve(2)
        buffer.writableBytes.copyBytes(from: [2, 3])
        buffer.didWrite(2)
        #expect(buffer.array == [1, 2, 3])
    }

    @Test func consumingEverythingStartsAtTheFrontAgain() {
        var buffer = ByteBuffer([1, 2, 3])
        buffer.didRead(3)
        #expect(buffer.count == 0)
        #expect(buffer.writableBytes.count == buffer.capacity)
    }

    @Test func growingKeepsTheBytesThatWait() {
        var buffer = ByteBuffer(Array(0...199))
        buffer.didRead(50)
        buffer.append(Array(0...199))
        #expect(buffer.array == Array(50...199) + Array(0...199))
        #expect(buffer.capacity == 512, "doubled")
        let large = [UInt8](repeating: 7, count: 5000)
        buffer.append(large)
        #expect(buffer.capacity == 350 + 5000, "as much as is needed, when that is more")
        #expect(buffer.array.suffix(5000) == large[...])
    }

    @Test func theFreeFrontIsUsedBeforeMoreMemory() {
        var buffer = ByteBuffer([UInt8](repeating: 1, count: 250))
        buffer.didRead(240)
        buffer.append([UInt8](repeating: 2, count: 100))
        #expect(buffer.capacity == 256)
        #expect(buffer.array == [UInt8](repeating: 1, count: 10) + [UInt8](repeating: 2, count: 100))
    }

    @Test func aFailedReservationChangesNothing() {
        var buffer = ByteBuffer([1, 2, 3])
        let overflows = buffer.reserve(.max)
        let tooMuch = buffer.reserve(.max - 3)
        let appended = buffer.append(UnsafeRawBufferPointer(start: buffer.bytes.baseAddress, count: .max - 3))
        #expect(!overflows)
        #expect(!tooMuch)
        #expect(!appended)
        #expect(buffer.array == [1, 2, 3])
        #expect(buffer.capacity == 256)
    }

    @Test func appendingNoBytesChangesNothing() {
        var buffer = ByteBuffer()
        let appended = buffer.append(UnsafeRawBufferPointer(start: nil, count: 0))
        #expect(appended)
        #expect(buffer.count == 0)
    }

    /// Regression: a payload of no bytes has an address, an empty buffer has none; this trapped.
    @Test func noBytesOfSomeAddressIntoABufferWithoutMemory() {
        var buffer = ByteBuffer()
        let appended = withUnsafeBytes(of: 0) { buffer.append(UnsafeRawBufferPointer(rebasing: $0[..<0])) }
        #expect(appended)
        #expect(buffer.capacity == 0)
    }

    @Test func whatIsTruncatedIsForgotten() {
        var buffer = ByteBuffer([1, 2, 3, 4])
        buffer.didRead(1)
        buffer.truncate(to: 2)
        #expect(buffer.array == [2, 3])
        buffer.append([9])
        #expect(buffer.array == [2, 3, 9])
    }

    @Test func memoryAboveTheLimitIsFreed() {
        var buffer = ByteBuffer([1])
        buffer.removeAll(keepingAtMost: 256)
        #expect(buffer.capacity == 256)
        buffer.removeAll(keepingAtMost: 255)
        #expect(buffer.capacity == 0)
        buffer.append([2])
        #expect(buffer.array == [2])
    }

    @Test func memoryCanBeHandedOverAndTakenBack() throws {
        var buffer = ByteBuffer([1, 2, 3])
        let release = buffer.release()
        let released = try #require(release)
        #expect(released.capacity == 256)
        #expect(Array(UnsafeRawBufferPointer(start: released.memory, count: 3)) == [1, 2, 3])
        #expect(buffer.capacity == 0)
        #expect(buffer.array == [])

        var other = ByteBuffer(adopting: released.memory, capacity: released.capacity)
        #expect(other.array == [])
        other.append([9])
        #expect(other.bytes.baseAddress == released.memory)
    }

    @Test func consumedOrMissingMemoryIsNotHandedOver() {
        var consumed = ByteBuffer([1, 2])
        consumed.didRead(1)
        let ofConsumed = consumed.release() == nil
        var empty = ByteBuffer()
        let ofEmpty = empty.release() == nil
        #expect(ofConsumed)
        #expect(ofEmpty)
        #expect(consumed.array == [2])
    }
}
