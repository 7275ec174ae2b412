// An IPv4 or IPv6 address: parsed from text, compared by its bytes. Pure; called on any thread.

import Glibc

public struct IPAddress: Equatable, Sendable {
    /// In network byte order: 4 bytes, or 16 for IPv6.
    public let bytes: [UInt8]

    public var isIPv6: Bool { bytes.count == 16 }

    /// - Parameter text: without brackets. nil when it is no address.
    public init?(_ text: some StringProtocol) {
        // For C a NUL would end the text.
        guard !text.utf8.contains(0) else { return nil }
        for (family, count) in [(AF_INET, 4), (AF_INET6, 16)] {
            var bytes = [UInt8](repeating: 0, count: count)
            guard inet_pton(family, String(text), &bytes) == 1 else { continue }
            self.bytes = bytes
            return
        }
        return nil
    }

    /// Accepts the IPv4 forms that the system's resolver accepts, such as 127.1 and 0x7f000001.
    init?(asResolved text: String) {
        var address = in_addr()
        if !text.utf8.contains(0), inet_aton(text, &address) != 0 {
            bytes = withUnsafeBytes(of: address) { Array($0) }
        } else {
            guard let strict = IPAddress(text) else { return nil }
            self = strict
        }
    }

    /// 127.0.0.0/8, the same mapped to IPv6 (RFC 4291 section 2.5.5.2), and ::1.
    var isLoopback: Bool {
        if !isIPv6 { return bytes[0] == 127 }
        return bytes == Self.loopback || bytes.starts(with: Self.mappedLoopback)
    }

    /// fe80::/10: an address that is complete only with its zone, a network interface (RFC 4007 section 6).
    public var isLinkLocal: Bool { isIPv6 && bytes[0] == 0xFE && bytes[1] & 0xC0 == 0x80 }

    private static let loopback = [UInt8](repeating: 0, count: 15) + [1]
    private static let mappedLoopback = [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF, 127]

    /// Whether both are of one family and have the same first `prefix` bits (RFC 4632 section 3.1).
    func isInBlock(of other: IPAddress, prefix: Int) -> Bool {
        bytes.count == other.bytes.count
            && zip(bytes, other.bytes).enumerated().allSatisfy { index, pair in
                let counting = min(max(prefix - index * 8, 0), 8)
                return (pair.0 ^ pair.1) >> (8 - counting) == 0
            }
    }
}
