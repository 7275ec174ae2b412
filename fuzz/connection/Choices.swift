// The fuzzer's bytes as a list of choices, and messages made of them.

import Glibc
import WebSocketProtocol

/// Returns one byte after the other as choices, and zeros after the last.
struct Choices {
    private let bytes: UnsafeBufferPointer<UInt8>
    private var used = 0
    /// Bytes that the messages of this run may still have together. It keeps a run short.
    private var budget = 1 << 20

    init(_ data: UnsafePointer<UInt8>, _ size: Int) { bytes = UnsafeBufferPointer(start: data, count: size) }

    var isEmpty: Bool { used >= bytes.count }

    mutating func next() -> UInt8 {
        guard !isEmpty else { return 0 }
        defer { used += 1 }
        return bytes[used]
    }

    mutating func next<Value>(of list: [Value]) -> Value { list[Int(next()) % list.count] }

    mutating func flag() -> Bool { next() & 1 != 0 }

    /// A message's size: small most of the time, but at times as large as every path of the engine needs.
    mutating func size() -> Int {
        let choice = Int(next())
        let size =
            switch choice {
            case ..<160: choice
            case ..<224: (choice - 160) * 700
            case ..<255: 20_000 + (choice - 224) * 6000
            default: 300_000
            }
        let granted = min(size, budget)
        budget -= granted
        return granted
    }

    mutating func count(upTo most: Int) -> Int { min(Int(next()) * 97, most) }
}

/// A message, ping or pong.
struct Message: Equatable {
    var opcode: Opcode
    var payload: [UInt8]
}

/// Payloads: text that compresses, text that does not, and bytes that are not text.
enum Content {
    private static let largest = 300_000
    private static let plain = [UInt8](repeating: UInt8(ascii: "a"), count: largest)
    private static let noise: [UInt8] = binary.map { 32 + $0 % 90 }
    private static let binary: [UInt8] = (0..<largest).map { (index: Int) -> UInt8 in
        UInt8(truncatingIfNeeded: (index * index * 7 + index / 3) >> 3)
    }

    /// - Parameter number: written into the payload, so that two messages of one size differ.
    static func make(_ size: Int, isText: Bool, compresses: Bool, number: Int) -> [UInt8] {
        var bytes = Array((compresses ? plain : isText ? noise : binary)[..<size])
        for (index, byte) in "\(number)é".utf8.enumerated() where size >= 16 { bytes[index] = byte }
        return bytes
    }
}

/// Reports a failed check and ends the process, which libFuzzer counts as found.
func fail(_ words: String) -> Never {
    _ = "found: \(words)\n".withCString { write(STDERR_FILENO, $0, strlen($0)) }
    abort()
}

func require(_ condition: Bool, _ words: @autoclosure () -> String = "a call failed") {
    if !condition { fail(words()) }
}
