import Testing

@testable import WebSocketEngine

@Suite struct DeadlineHeapTests {
    @Test func expireInOrderAndNotBefore() {
        var timers = DeadlineHeap()
        var generator = SystemRandomNumberGenerator()
        for deadline in (1...100).shuffled(using: &generator) { timers.set(Nanoseconds(deadline), for: deadline) }
        #expect(timers.next == 1)
        #expect(timers.expired(0) == nil)
        var slots: [Int] = []
        while let slot = timers.expired(60) { slots.append(slot) }
        #expect(slots == Array(1...60))
        #expect(timers.next == 61)
        while timers.expired(.max) != nil {}
        #expect(timers.next == nil)
    }

    @Test func aSlotHasOneDeadlineOrNone() {
        var timers = DeadlineHeap()
        var deadlines: [Int: Nanoseconds] = [:]
        for _ in 0..<10_000 {
            let slot = Int.random(in: 0..<50)
            let deadline = Bool.random() ? Nanoseconds.random(in: 0...100) : nil
            timers.set(deadline, for: slot)
            deadlines[slot] = deadline
            #expect(timers.count == deadlines.count)
            #expect(timers.next == deadlines.values.min())
        }
        var last: Nanoseconds = 0
        while let slot = timers.expired(.max) {
            let deadline = deadlines.removeValue(forKey: slot)
            #expect(deadline.map { $0 >= last } == true)
            last = deadline ?? last
        }
        #expect(deadlines.isEmpty)
    }

    @Test func secondsOfAnySizeAreATime() {
        #expect(Nanoseconds(seconds: 0.25) == 250_000_000)
        #expect(Nanoseconds(seconds: -1) == 0)
        #expect(Nanoseconds(seconds: .nan) == 0 || Nanoseconds(seconds: .nan) > 1 << 60)
        // Added to the clock it must not overflow.
        #expect(Nanoseconds(seconds: .infinity) < UInt64.max / 2)
    }
}
