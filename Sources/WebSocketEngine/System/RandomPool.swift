// Random bytes of the kernel for mask keys and handshake keys, fetched in blocks: RFC 6455 section 5.3 wants
// each mask unpredictable, not a system call for each.

import CLinux
import Glibc

// Sendable: there is one owner, and its memory goes with it.
public struct RandomPool: ~Copyable, @unchecked Sendable {
    private static let size = 4096
    private let bytes = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 8)
    private var used = size
    private var generation = Fork.generation

    public init() {}

    deinit { bytes.deallocate() }

    /// A fresh value; nil when the kernel has none to give: fail the connection then.
    public mutating func next() -> UInt32? {
        if used == Self.size || generation != Fork.generation {
            guard refill() else { return nil }
        }
        // 4096 is a multiple of 4, and nothing but whole values is ever taken.
        let value = bytes.load(fromByteOffset: used, as: UInt32.self)
        used += 4
        return value
    }

    private mutating func refill() -> Bool {
        var filled = 0
        while filled < Self.size {
            let count = retrying { getrandom(bytes + filled, Self.size - filled, 0) }
            guard count > 0 else { return false }
            filled += count
        }
        used = 0
        generation = Fork.generation
        return true
    }

    /// `count` words as bytes, as for a handshake's key.
    mutating func words(_ count: Int) -> [UInt8]? {
        var result: [UInt8] = []
        for _ in 0..<count {
            guard let word = next() else { return nil }
            withUnsafeBytes(of: word) { result.append(contentsOf: $0) }
        }
        return result
    }
}
