// A page of memory between two pages without access: a read past either end of it ends the process.

import Glibc

final class GuardedPage {
    static let size = Int(sysconf(Int32(_SC_PAGESIZE)))
    private let memory: UnsafeMutableRawPointer
    private var page: UnsafeMutableRawPointer { memory + Self.size }

    init() {
        memory = mmap(nil, 3 * Self.size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        precondition(memory != MAP_FAILED && mprotect(page, Self.size, PROT_READ | PROT_WRITE) == 0)
    }

    deinit { munmap(memory, 3 * Self.size) }

    /// The bytes at the start of the page.
    func atStart(_ bytes: [UInt8]) -> UnsafeRawBufferPointer { copy(bytes, to: page) }

    /// The bytes at the end of the page.
    func atEnd(_ bytes: [UInt8]) -> UnsafeRawBufferPointer { copy(bytes, to: page + Self.size - bytes.count) }

    private func copy(_ bytes: [UInt8], to place: UnsafeMutableRawPointer) -> UnsafeRawBufferPointer {
        let target = UnsafeMutableRawBufferPointer(start: place, count: bytes.count)
        target.copyBytes(from: bytes)
        return UnsafeRawBufferPointer(target)
    }
}
