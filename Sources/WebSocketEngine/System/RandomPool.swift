// Random words from the kernel, for mask keys (RFC 6455 section 5.3: each one unpredictable) and handshake keys. Fetched in
// blocks of 4096 bytes, so that a frame costs no system call. Each Lua state has a pool, and the loop has one.

import CLinux
import Glibc
import WebSocketProtocol

// Sendable: the pool has one owner, who alone uses its memory.
public struct RandomPool: ~Copyable, @unchecked Sendable {
    private static let size = 4096
    /// From malloc; nil until the first word is fetched.
    private var bytes: UnsafeMutableRawPointer?
    /// `size` as long as there are no bytes.
    private var used = size
    private var generation = Fork.generation

    public init() {}

    deinit { free(bytes) }

    /// Returns nil if getrandom or allocation fails; the caller must then fail the connection.
    public mutating func next() -> UInt32? {
        if used == Self.size || generation != Fork.generation {
            guard refill() else { return nil }
        }
        // 4096 is a multiple of 4, so a word never crosses the end of the block.
        let value = bytes.unsafelyUnwrapped.load(fromByteOffset: used, as: UInt32.self)
        used += 4
        return value
    }

    /// Makes the mask of a frame, or none if this end sends without (RFC 6455 section 5.1). False if `next` fails.
    @inline(__always)
    mutating func makeMask(_ mask: inout Mask?, for role: Role) -> Bool {
        guard role.masks else { return true }
        guard let key = next() else { return false }
        mask = Mask(key: key)
        return true
    }

    private mutating func refill() -> Bool {
        if bytes == nil { bytes = malloc(Self.size) }
        guard let bytes else { return false }
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

    /// `count` words as bytes, for the key of a handshake. Returns nil if `next` fails.
    mutating func words(_ count: Int) -> [UInt8]? {
        var result: [UInt8] = []
        for _ in 0..<count {
            guard let word = next() else { return nil }
            withUnsafeBytes(of: word) { result.append(contentsOf: $0) }
        }
        return result
    }
}
