// Deadlines in a binary heap, the earliest first: one for each session at most, which is called by its slot.

struct DeadlineHeap {
    private var heap: [(deadline: Nanoseconds, slot: Int)] = []
    /// Where in the heap a slot's deadline is.
    private var places: [Int?] = []

    var count: Int { heap.count }
    var next: Nanoseconds? { heap.first?.deadline }

    @inline(__always)
    func isDue(_ now: Nanoseconds) -> Bool { !heap.isEmpty && heap[0].deadline <= now }

    /// Takes the place of the slot's deadline before; nil: none.
    mutating func set(_ deadline: Nanoseconds?, for slot: Int) {
        while places.count <= slot { places.append(nil) }
        if let place = places[slot] { remove(at: place) }
        guard let deadline else { return }
        heap.append((deadline, slot))
        places[slot] = heap.count - 1
        rise(from: heap.count - 1)
    }

    /// The slot of a deadline that has passed; it has none from then on.
    mutating func expired(_ now: Nanoseconds) -> Int? {
        guard let first = heap.first, first.deadline <= now else { return nil }
        remove(at: 0)
        return first.slot
    }

    private mutating func remove(at place: Int) {
        exchange(place, heap.count - 1)
        places[heap.removeLast().slot] = nil
        guard place < heap.count else { return }
        rise(from: place)
        sink(from: place)
    }

    private mutating func rise(from place: Int) {
        var child = place
        while child > 0, heap[child].deadline < heap[(child - 1) / 2].deadline {
            exchange(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    private mutating func sink(from place: Int) {
        var parent = place
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
        places[heap[a].slot] = a
        places[heap[b].slot] = b
    }
}
