// A binary heap of the sessions' deadlines, the earliest first; a session, named by its slot, has one or none. Used by Loop and
// Session, on the thread that runs the loop.

struct DeadlineHeap {
    private var heap: [(deadline: Nanoseconds, slot: Int)] = []
    /// Index in `heap` of each slot's deadline.
    private var positions: [Int?] = []

    var count: Int { heap.count }
    var next: Nanoseconds? { heap.first?.deadline }

    @inline(__always)
    func isDue(_ now: Nanoseconds) -> Bool { !heap.isEmpty && heap[0].deadline <= now }

    /// Replaces the slot's deadline; nil removes it.
    mutating func set(_ deadline: Nanoseconds?, for slot: Int) {
        while positions.count <= slot { positions.append(nil) }
        if let position = positions[slot] { remove(at: position) }
        guard let deadline else { return }
        heap.append((deadline, slot))
        positions[slot] = heap.count - 1
        rise(from: heap.count - 1)
    }

    /// Removes the earliest deadline if it has passed, and returns its slot.
    mutating func popExpired(_ now: Nanoseconds) -> Int? {
        guard let first = heap.first, first.deadline <= now else { return nil }
        remove(at: 0)
        return first.slot
    }

    private mutating func remove(at position: Int) {
        exchange(position, heap.count - 1)
        positions[heap.removeLast().slot] = nil
        guard position < heap.count else { return }
        rise(from: position)
        sink(from: position)
    }

    private mutating func rise(from position: Int) {
        var child = position
        while child > 0, heap[child].deadline < heap[(child - 1) / 2].deadline {
            exchange(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    private mutating func sink(from position: Int) {
        var parent = position
        while true {
            var least = parent
            for child in (2 * parent + 1)...(2 * parent + 2)
            where child < heap.count && heap[child].deadline < heap[least].deadline { least = child }
            guard least != parent else { return }
            exchange(parent, least)
            parent = least
        }
    }

    private mutating func exchange(_ a: Int, _ b: Int) {
        heap.swapAt(a, b)
        positions[heap[a].slot] = a
        positions[heap[b].slot] = b
    }
}
