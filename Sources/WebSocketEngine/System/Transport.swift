// A socket, with TLS over it or without, and what the loop watches it for. Reads and writes tell what happened
// in one word; none blocks.

import CLinux
import Glibc

final class Transport {
    enum Result {
        case bytes(Int)
        case wouldBlock
        /// The peer has closed its side.
        case end
        case failed(Fault)
    }

    enum Fault {
        case system(Int32)
        case tls(TLSFailure)

        var words: String {
            switch self {
            case .system(let number): SystemError.message(number)
            case .tls(let failure): failure.reason
            }
        }
    }

    enum ConnectStatus { case pending, connected, failed(Int32) }

    /// One socket may be read so often in a turn of the loop, so that the others get theirs.
    static let maxReadsPerTurn = 16

    private let descriptor: FileDescriptor
    /// Whether a read that returns less than it may has emptied the socket, if the event says nothing else. With a Unix
    /// socket it may stop where descriptors or credentials come with the bytes.
    let shortReadEmptiesSocket: Bool
    private(set) var tls: TLSConnection?
    private let poller: Int32
    let token: Poller.Token
    private var interest: Poller.Interest = .write
    /// Whether the loop was asked to come back.
    private var isUnfinished = false

    /// A connection that is silent for half a minute is probed by the kernel, and given up when six probes 10 s
    /// apart stay without an answer.
    private static let keepAlive: [(option: Int32, value: Int32)] = [
        (TCP_KEEPIDLE, 30), (TCP_KEEPINTVL, 10), (TCP_KEEPCNT, 6),
    ]
    /// Begins to connect: `connectStatus` tells more once it is writable.
    init(connecting address: Address, slot: Int, _ poller: inout Poller) throws(SystemError) {
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let number = socket(address.family, type, 0)
        guard number >= 0 else { throw SystemError("socket") }
        descriptor = FileDescriptor(number)
        shortReadEmptiesSocket = address.family != AF_UNIX
        // A message is sent as a whole: nothing is gained by waiting for more (Nagle).
        func set(_ level: Int32, _ option: Int32, _ value: Int32) {
            var value = value
            setsockopt(number, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
        }
        if address.family != AF_UNIX {
            set(Int32(IPPROTO_TCP), TCP_NODELAY, 1)
            set(SOL_SOCKET, SO_KEEPALIVE, 1)
            for (option, value) in Self.keepAlive { set(Int32(IPPROTO_TCP), option, value) }
        }
        let status = address.withSockaddr { connect(number, $0, $1) }
        guard status == 0 || errno == EINPROGRESS || errno == EINTR else { throw SystemError("connect") }
        self.poller = poller.descriptorNumber
        token = try poller.add(descriptor, slot: slot, [.write, .edge])
    }

    func connectStatus() -> ConnectStatus {
        var error: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(descriptor.number, SOL_SOCKET, SO_ERROR, &error, &length) == 0 else { return .failed(errno) }
        guard error == 0 else { return .failed(error) }
        if Address.peer(of: descriptor) != nil { return .connected }
        return errno == ENOTCONN ? .pending : .failed(ECONNREFUSED)
    }

    deinit {
        // Before the socket is closed: it still has a close_notify to send.
        tls = nil
        guard descriptor.isOurs else { return }
        Poller.remove(descriptor.number, from: poller)
        // The peer is to see the end even if a child of fork has the socket too.
        shutdown(descriptor.number, Int32(SHUT_RDWR))
    }

    /// Begins TLS: `continueTLSHandshake` goes on with it.
    func startTLS(_ context: TLSContext, host: String, port: Int) throws(TLSFailure) {
        tls = try TLSConnection(context, host: host, port: port, socket: descriptor.number)
    }

    func continueTLSHandshake() -> Result { tls?.continueHandshake() ?? .bytes(0) }

    /// The descriptor that Lua's thread may write to as well.
    var descriptorForScript: Int32? { tls == nil ? descriptor.number : nil }

    /// Whether more can be read without the socket becoming readable.
    var hasBufferedInput: Bool { tls?.hasPending ?? false }

    /// After a read that would block: TLS may have left it at that, with more in the socket, so that others get their
    /// turn.
    func requestTurnIfPending(_ loop: inout LoopContext) {
        if hasBufferedInput { requestAnotherTurn(&loop) }
    }

    /// There is more to read or write than one turn takes.
    func requestAnotherTurn(_ loop: inout LoopContext) {
        guard !isUnfinished else { return }
        isUnfinished = true
        loop.unfinished.append(token)
    }

    /// Whether to act on it now. An event beside what was promised is not: one turn in each is enough, or others would wait
    /// for a second.
    func shouldHandle(_ readiness: Poller.Readiness) -> Bool {
        guard readiness.token == token else { return false }
        guard readiness.isRequestedTurn else { return !isUnfinished }
        isUnfinished = false
        return true
    }

    /// Has the poller tell when one can read or write as `interest` says, once for each time that it would have blocked
    /// before. Look again after each read or write: TLS may have to write in order to read, and the reverse.
    func setInterest(_ interest: Poller.Interest, _ poller: borrowing Poller) {
        var needs = interest
        if let tls {
            needs = []
            if interest.contains(.read) { needs.formUnion(tls.readNeeds) }
            if interest.contains(.write) { needs.formUnion(tls.writeNeeds) }
        }
        guard needs != self.interest else { return }
        self.interest = needs
        poller.change(descriptor, token, to: needs.union(.edge))
    }

    /// What the socket's readiness means for reading and writing.
    func streamReadiness(_ readiness: Poller.Readiness) -> Poller.Interest {
        var socket: Poller.Interest = []
        if readiness.readable { socket.insert(.read) }
        if readiness.writable { socket.insert(.write) }
        guard let tls else { return socket }
        var stream: Poller.Interest = []
        if !socket.isDisjoint(with: tls.readNeeds) { stream.insert(.read) }
        if !socket.isDisjoint(with: tls.writeNeeds) { stream.insert(.write) }
        return stream
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) -> Result {
        if let tls { return tls.read(into: buffer) }
        let count = retrying { ws_receive(descriptor.number, buffer.baseAddress, buffer.count) }
        if count > 0 { return .bytes(count) }
        if count == 0 { return .end }
        return errno == EAGAIN ? .wouldBlock : .failed(.system(errno))
    }

    func write(_ buffer: UnsafeRawBufferPointer) -> Result {
        if let tls { return tls.write(buffer) }
        // SIGPIPE would end the host.
        let count = retrying { ws_send(descriptor.number, buffer.baseAddress, buffer.count, Int32(MSG_NOSIGNAL)) }
        if count >= 0 { return .bytes(count) }
        return errno == EAGAIN ? .wouldBlock : .failed(.system(errno))
    }

    /// What the peer's system has acknowledged of what was sent; nil where none does that, as for a Unix socket.
    func acknowledgement(_ now: Nanoseconds) -> Acknowledgement? {
        var state = ws_acknowledgement()
        guard ws_read_acknowledgement(descriptor.number, &state) else { return nil }
        return Acknowledgement(
            outstanding: Int(state.outstanding), unanswered: Int(state.unanswered),
            latest: now - min(now, Nanoseconds(state.silence) * 1_000_000),
            roundTrip: Nanoseconds(state.round_trip) * 1000)
    }

    /// From now on the peer's system answers only to what is sent, or when its reader goes on.
    func stopKeepAlive() {
        var off: Int32 = 0
        setsockopt(descriptor.number, SOL_SOCKET, SO_KEEPALIVE, &off, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Bytes that the kernel has taken and the peer's system has not acknowledged.
    var unacknowledgedBytes: Int {
        let count = ws_unacknowledged_bytes(descriptor.number)
        // OpenSSL answers the end of the stream with an alert, which is no byte of ours: a record of TLS 1.3, or of TLS 1.2
        // with an AEAD.
        return tls != nil && (count == 24 || count == 31) ? 0 : count
    }

    /// Reads bytes past TLS, which are not needed any more.
    func discard(into buffer: UnsafeMutableRawBufferPointer) -> Result {
        let count = retrying { ws_receive(descriptor.number, buffer.baseAddress, buffer.count) }
        if count > 0 { return .bytes(count) }
        if count == 0 { return .end }
        return errno == EAGAIN ? .wouldBlock : .failed(.system(errno))
    }

    /// Has the poller tell of bytes, for `discard`.
    func watchForDiscard(_ poller: borrowing Poller) {
        interest = .read
        poller.change(descriptor, token, to: [.read, .edge])
    }

    /// Tells the peer that TLS ends here.
    func sendCloseNotify() { tls?.sendCloseNotify() }

    /// No more from us; what the peer still sends is read to its end.
    func shutDownWriting() {
        tls?.sendCloseNotify()
        shutdown(descriptor.number, Int32(SHUT_WR))
    }
}
