import Testing

@testable import WebSocketEngine

@Suite struct RandomPoolTests {
    @Test func neverGivesTheSameWordTwice() {
        var pool = RandomPool()
        var seen: Set<UInt32> = []
        // More than one block of the kernel's; by chance some 0.01 of 10 000 words repeat.
        for _ in 0..<10_000 { seen.insert(pool.next() ?? 0) }
        #expect(seen.count > 9_990)
    }

    @Test func twoPoolsDiffer() {
        var a = RandomPool()
        var b = RandomPool()
        #expect(a.words(4) != b.words(4))
        #expect(a.words(4)?.count == 16)
    }
}
