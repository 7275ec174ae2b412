import Testing

@testable import WebSocketEngine

@Suite struct DeadlineHeapTests {
    @Test func expireInOrderAndNotBefore() {
        var heap = DeadlineHeap()
        var generator = SystemRandomNumberGenerator()
        for deadline in (1...100).shuffled(using: &generator) { heap.set(Nanoseconds(deadline), for: deadline) }
        #expect(heap.next == 1)
        #expect(heap.popExpired(0) == nil)
        var slots: [Int] = []
        while let slot = heap.popExpired(60) { slots.append(slot) }
        #expect(slots == Array(1...60))
        #expect(heap.next == 61)
        while heap.popExpired(.max) != nil {}
        #expect(heap.next == nil)
    }

    @Test func aSlotHasOneDeadlineOrNone() {
        var heap = DeadlineHeap()
        var deadlines: [Int: Nanoseconds] = [:]
        for _ in 0..<10_000 {
            let slot = Int.random(in: 0..<50)
            let deadline = Bool.random() ? Nanoseconds.random(in: 0...100) : nil
            heap.set(deadline, for: slot)
            deadlines[slot] = deadline
            #expect(heap.count == deadlines.count)
            #expect(heap.next == deadlines.values.min())
        }
        var last: Nanoseconds = 0
        while let slot = heap.popExpired(.max) {
            let deadline = deadlines.removeValue(forKey: slot)
            #expect(deadline.map { $0 >= last } == true)
            last = deadline ?? last
        }
        #expect(deadlines.isEmpty)
    }
}
