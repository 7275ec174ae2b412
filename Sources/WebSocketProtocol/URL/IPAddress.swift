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

    /// As the system's resolver reads it: IPv4 in other forms too, such as 127.1 and 0x7f000001.
    init?(asResolved text: String) {
        var address = in_addr()
        if !text.utf8.contains(0), inet_aton(text, &address) != 0 {
            bytes = withUnsafeBytes(of: address) { Array($0) }
        } else {
            guard let strict = IPAddress(text) else { return nil }
            self = strict
        }
    }

    /// 127.0.0.0/8, in an IPv6 address too (RFC 4291 section 2.5.5.2), and ::1.
    var isLoopback: Bool {
        if !isIPv6 { return bytes[0] == 127 }
        return bytes == Self.loopback || bytes.starts(with: Self.mappedLoopback)
    }

    private static let loopback = [UInt8](repeating: 0, count: 15) + [1]
    private static let mappedLoopback = [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF, 127]

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
