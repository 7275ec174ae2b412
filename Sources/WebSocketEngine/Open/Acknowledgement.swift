// What the peer's system has acknowledged (TCP). Transport asks the kernel for it; Keepalive, AcknowledgementTimeout and the
// ClosingProgress judge by it whether a peer is slow or gone.

struct Acknowledgement: Equatable {
    /// Bytes that the kernel has taken and the peer's system has not acknowledged.
    var outstanding: Int
    /// Retransmissions, or probes of a closed window, in a row that were not answered.
    var unanswered: Int
    /// When the peer's system acknowledged anything, or opened its window, last.
    var latest: Nanoseconds
    /// Smoothed.
    var roundTrip: Nanoseconds = 0
    /// When a segment with bytes of ours was sent last.
    var lastSent: Nanoseconds = 0
    /// Bytes that the peer's system has room for: it grows when the peer's program reads. 0 if the kernel does not know it.
    var window = 0
    /// Bytes that were acknowledged since the connection began.
    var acknowledged: UInt64 = 0
}
