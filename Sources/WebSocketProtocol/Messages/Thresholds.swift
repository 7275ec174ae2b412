// Sizes at which a message, or a part of one, takes another path. With small ones a test, or a fuzzer, comes to every path
// with few bytes.

public struct Thresholds: Sendable {
    /// The rest of a frame's payload is read straight into its message when at least this many bytes are missing.
    public var readIntoMessage = 32 << 10
    /// Bytes reserved at once for a message; more only as bytes arrive, whatever a frame claims.
    public var reservation = 1 << 20
    /// A message of at least this many bytes is lent to the event log, not copied.
    public var detach = 16 << 10
    /// A compressed message in one piece is inflated into the event log if it has at most this many bytes.
    public var inflateIntoRecord = 128 << 10
    /// Bytes after which inflating pauses, so that the owner can apply its limits and serve others: a byte may become a
    /// thousand.
    public var inflatedPerCall = 256 << 10
    /// Bytes of room that zlib gets at least for a step; it is many times slower where less than a match, 258 bytes, is
    /// left.
    public var inflateSpace = 8 << 10
    /// With more bytes than this, pings that wait for their answer are forgotten when another comes.
    public var pendingPongs = 4 << 10

    public init() {}
}
