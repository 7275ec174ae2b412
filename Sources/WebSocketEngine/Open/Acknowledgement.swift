// What the peer's system has acknowledged (TCP). Transport asks the kernel for it; Keepalive, AcknowledgementTimeout and the
// closing handshake judge by it whether a peer is slow or gone.

struct Acknowledgement: Equatable {
    /// Bytes that the kernel has taken and the peer's system has not acknowledged.
    var outstanding: Int
    /// Retransmissions, or probes of a closed window, in a row that were not answered.
    var unanswered: Int
    /// When the peer's system acknowledged anything, or opened its window, last.
    var latest: Nanoseconds
    /// Smoothed.
    var roundTrip: Nanoseconds = 0
}
