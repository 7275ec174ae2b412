// An IPv4 or IPv6 address, read from its text: however it is spelled, it is the same bytes.

import Glibc

struct IPAddress: Equatable, Sendable {
    /// In network order: four, or sixteen for IPv6.
    let bytes: [UInt8]

    var isIPv6: Bool { bytes.count == 16 }

    /// Without brackets; nil when it is none.
    init?(_ text: some StringProtocol) {
        // C would see the end of the text in a NUL.
        guard !text.utf8.contains(0) else { return nil }
        for (family, count) in [(AF_INET, 4), (AF_INET6, 16)] {
            var bytes = [UInt8](repeating: 0, count: count)
            guard inet_pton(family, String(text), &bytes) == 1 else { continue }
            self.bytes = bytes
            return
        }
        return nil
    }

    /// Whether both are in the same block of addresses (RFC 4632 section 3.1): of one family, with the same first
    /// `prefix` bits.
    func isInBlock(of other: IPAddress, prefix: Int) -> Bool {
        bytes.count == other.bytes.count
            && zip(bytes, other.bytes).enumerated().allSatisfy { index, pair in
                let counting = min(max(prefix - index * 8, 0), 8)
                return (pair.0 ^ pair.1) >> (8 - counting) == 0
            }
    }
}
