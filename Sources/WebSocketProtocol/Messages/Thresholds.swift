// Sizes in bytes at which a received message, or a part of it, takes another path. Constants for MessageReader and
// the types below it; the fuzzer sets small values, so that short inputs reach every path.

public struct Thresholds: Sendable {
    /// The rest of a frame's payload is read from the socket straight into its message if at least this many bytes are
    /// missing.
    public var readIntoMessage = 32 << 10
    /// Upper bound of the memory that is reserved when a message begins. More is reserved only as bytes arrive,
    /// whatever length a frame claims.
    public var reservation = 1 << 20
    /// A message of at least this many bytes becomes a detached block; a smaller one is copied into its record.
    public var detach = 16 << 10
    /// A compressed message that is whole in the input is inflated straight into its record if it has at most this many
    /// bytes.
    public var inflateIntoRecord = 128 << 10
    /// After inflating this many bytes `receive` returns, so that the engine can apply `maxqueued` and let other
    /// connections work: deflate can expand 1000-fold.
    public var inflatedPerCall = 256 << 10
    /// Lower bound of the output space for one call of zlib's inflate. With less than 258 bytes, the longest match,
    /// zlib is many times slower.
    public var inflateSpace = 8 << 10
    /// When more bytes of pongs than this wait, the next ping replaces them.
    public var pendingPongs = 4 << 10

    public init() {}
}
