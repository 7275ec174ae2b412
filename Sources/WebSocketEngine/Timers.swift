// Deadlines in a binary heap, the earliest first. An entry is never taken out early: its session compares
// with the deadline that it has by then.

struct Timers {
    private var heap: [(deadline: Nanoseconds, token: Poller.Token)] = []

    var count: Int { heap.count }
    var next: Nanoseconds? { heap.first?.deadline }

    mutating func add(_ deadline: Nanoseconds, _ token: Poller.Token) {
        heap.append((deadline, token))
        var child = heap.count - 1
        while child > 0, heap[child].deadline < heap[(child - 1) / 2].deadline {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    /// The token of a deadline that has passed.
    mutating func expired(_ now: Nanoseconds) -> Poller.Token? {
        guard let first = heap.first, first.deadline <= now else { return nil }
        let last = heap.removeLast()
        guard !heap.isEmpty else { return first.token }
        heap[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in (2 * parent + 1)...(2 * parent + 2)
            where child < heap.count && heap[child].deadline < heap[least].deadline { least = child }
            guard least != parent else { return first.token }
            heap.swapAt(least, parent)
            parent = least
        }
    }
}
