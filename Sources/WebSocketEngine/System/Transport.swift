// Owns a non-blocking socket, connected by us or accepted, its registration with the poller and, for wss, the TLSConnection
// over it. Used by the opening handshake (ConnectRace, ProxyExchange, HandshakeExchange), OpenConnection and LingeringClose,
// on the thread that runs the loop. Reads and writes never block.

import CLinux
import Glibc

final class Transport {
    enum Result {
        case bytes(Int)
        case wouldBlock
        /// End of the stream: the peer sends no more.
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

    /// What the peer's system has told, also behind bytes that were not read.
    enum PeerStatus {
        case connected
        /// It sends no more. It may still read: a program that has closed the socket looks the same.
        case hasStoppedSending
        case gone
    }

    enum ConnectStatus { case pending, connected, failed(Int32) }

    /// Reads of one socket in a turn of the loop. A socket with more to read gets another turn after the others.
    static let maxReadsPerTurn = 16

    private let descriptor: FileDescriptor
    private let writer: SocketWriter
    /// Whether a read that fills only a part of its buffer has emptied the socket, unless the event says `endsOrStops`. False
    /// for a Unix socket, where a read also stops at descriptors or credentials sent with the bytes.
    let shortReadEmptiesSocket: Bool
    private(set) var tls: TLSConnection?
    /// Number of the epoll descriptor.
    private let poller: Int32
    let token: Poller.Token
    private var interest: Poller.Interest
    /// Whether the kernel probes the connection.
    private var keepsAlive: Bool
    /// Whether `token` is in `LoopContext.unfinished`.
    private var isUnfinished = false
    /// A child that was made later may hold the socket still when the host has closed it here: then epoll goes on reporting it.
    private let childrenBefore = Fork.children
    /// Whether no event has told that the socket is there still.
    private var isTurnRequested = false
    /// Whether the host was found to have closed the socket. Then its number is not used any more.
    private var isLost = false

    /// The kernel probes a connection after 30 s of silence, and breaks it off when 6 probes, 10 s apart, stay unanswered.
    private static let keepAlive: [(option: Int32, value: Int32)] = [
        (TCP_KEEPIDLE, 30), (TCP_KEEPINTVL, 10), (TCP_KEEPCNT, 6),
    ]

    /// `SystemError.call` when the local address can't be used.
    static let bindCall = "bind"

    /// Starts connecting. Call `connectStatus` when the socket becomes writable.
    /// - Parameter local: of this machine; nil: the system chooses one.
    init(connecting address: Address, from local: Address? = nil, slot: Int, _ poller: inout Poller) throws(SystemError)
    {
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let number = socket(address.family, type, 0)
        guard number >= 0 else { throw SystemError("socket") }
        descriptor = FileDescriptor(number)
        let isTCP = address.family != AF_UNIX
        shortReadEmptiesSocket = isTCP
        keepsAlive = isTCP
        if isTCP { Self.setTCPOptions(number, keepsAlive: true) }
        writer = SocketWriter(descriptor.reference, isTCP: isTCP)
        if let local {
            // The system chooses the port in connect(), when it knows the peer: two sockets may have the same port then.
            Self.set(Int32(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT, 1, on: number)
            guard local.withSockaddr({ bind(number, $0, $1) }) == 0 else { throw SystemError(Self.bindCall) }
        }
        // If a signal has interrupted the call, the kernel may connect already: the second call says so.
        let status = address.withSockaddr { place, size in retrying { Int(connect(number, place, size)) } }
        guard status == 0 || [EINPROGRESS, EALREADY, EISCONN].contains(errno) else { throw SystemError("connect") }
        self.poller = poller.descriptorNumber
        interest = .write
        token = try poller.add(descriptor, slot: slot, [.write, .edge])
    }

    /// - Parameters:
    ///   - descriptor: of ListeningSocket, from which it has the options of TCP.
    ///   - keepsAlive: whether SO_KEEPALIVE is among them.
    init(
        accepted descriptor: consuming FileDescriptor, isUnix: Bool, keepsAlive: Bool, slot: Int,
        _ poller: inout Poller
    ) throws(SystemError) {
        self.descriptor = descriptor
        writer = SocketWriter(self.descriptor.reference, isTCP: !isUnix)
        shortReadEmptiesSocket = !isUnix
        self.keepsAlive = keepsAlive
        self.poller = poller.descriptorNumber
        interest = .read
        token = try poller.add(self.descriptor, slot: slot, [.read, .edge])
    }

    /// Accepted sockets have the options of the listening one (tcp(7)).
    static func setTCPOptions(_ socket: Int32, keepsAlive: Bool) {
        // No Nagle: messages are written whole, and the last segment of one must not wait for an acknowledgement.
        set(Int32(IPPROTO_TCP), TCP_NODELAY, 1, on: socket)
        guard keepsAlive else { return }
        set(SOL_SOCKET, SO_KEEPALIVE, 1, on: socket)
        for (option, value) in keepAlive { set(Int32(IPPROTO_TCP), option, value, on: socket) }
    }

    private static func set(_ level: Int32, _ option: Int32, _ value: Int32, on socket: Int32) {
        var value = value
        setsockopt(socket, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    func connectStatus() -> ConnectStatus {
        guard isOurs() else { return .failed(EBADF) }
        var error: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(descriptor.number, SOL_SOCKET, SO_ERROR, &error, &length) == 0 else { return .failed(errno) }
        guard error == 0 else { return .failed(error) }
        if Address.peer(of: descriptor) != nil { return .connected }
        return errno == ENOTCONN ? .pending : .failed(ECONNREFUSED)
    }

    var peerStatus: PeerStatus {
        switch ws_peer_end(descriptor.number) {
        case 0: .connected
        case 1: .hasStoppedSending
        default: .gone
        }
    }

    deinit {
        guard descriptor.isOurs else { return }
        tls?.sendCloseNotify()
        Poller.remove(descriptor.number, from: poller)
        // The peer must see the end even while a forked child still holds the socket.
        shutdown(descriptor.number, Int32(SHUT_RDWR))
    }

    /// Creates the TLS connection to a server. `continueTLSHandshake` then does the handshake.
    func startTLS(_ context: TLSContext, host: String, port: Int) throws(TLSFailure) {
        tls = try TLSConnection(context, host: host, port: port, socket: descriptor.number)
    }

    /// Creates the TLS connection to a client. `continueTLSHandshake` then does the handshake.
    func startTLS(accepting context: TLSContext) throws(TLSFailure) {
        tls = try TLSConnection(accepting: context, socket: descriptor.number)
    }

    func continueTLSHandshake() -> Result {
        guard let tls else { return .bytes(0) }
        return isOurs() ? tls.continueHandshake() : Self.closedByHost
    }

    private static let closedByHost = Result.failed(.system(EBADF))

    private func isOurs() -> Bool {
        if !isLost { isLost = !descriptor.isOurs }
        return !isLost
    }

    /// For writes on a Lua thread; nil with TLS, which only the loop may use.
    var writerForScript: SocketWriter? { tls == nil ? writer : nil }

    /// Whether TLS has bytes to return that it has already read from the socket, so that no event will come for them.
    var hasBufferedInput: Bool { tls?.hasPending ?? false }

    /// To be called after a read returned `wouldBlock`: TLS also returns that when one call has read as much as it may.
    func requestTurnIfPending(_ loop: inout LoopContext) {
        if hasBufferedInput { requestAnotherTurn(&loop) }
    }

    /// For a socket that stopped although it can read or write more: an edge-triggered epoll reports no further event.
    func requestAnotherTurn(_ loop: inout LoopContext) {
        guard !isUnfinished else { return }
        isUnfinished = true
        loop.unfinished.append(token)
    }

    /// False for another socket's event, and for an epoll event of a socket in `LoopContext.unfinished`: it gets its turn
    /// from there, and must not get two turns where others get one.
    func shouldHandle(_ readiness: Poller.Readiness) -> Bool {
        guard readiness.token == token else { return false }
        isTurnRequested = readiness.isRequestedTurn
        guard isTurnRequested else { return !isUnfinished }
        isUnfinished = false
        return true
    }

    /// Registers for reading, writing or both. Call it again after each read and write: TLS may need to write in order to
    /// read, and to read in order to write.
    func setInterest(_ interest: Poller.Interest, _ poller: borrowing Poller) {
        var needs = interest
        if let tls {
            needs = []
            if interest.contains(.read) { needs.formUnion(tls.readNeeds) }
            if interest.contains(.write) { needs.formUnion(tls.writeNeeds) }
        }
        guard needs != self.interest, isOurs() else { return }
        self.interest = needs
        poller.change(descriptor, token, to: needs.union(.edge))
    }

    /// Whether `read` and `write` can make progress, given what the socket is ready for.
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

    @inline(__always)
    func read(into buffer: UnsafeMutableRawBufferPointer) -> Result {
        if let tls { return read(tls, into: buffer) }
        return receive(into: buffer)
    }

    /// TLS may also write.
    @inline(never)
    private func read(_ tls: TLSConnection, into buffer: UnsafeMutableRawBufferPointer) -> Result {
        isOurs() ? tls.read(into: buffer) : Self.closedByHost
    }

    @inline(__always)
    private func receive(into buffer: UnsafeMutableRawBufferPointer) -> Result {
        let isReported = !isTurnRequested && Fork.children == childrenBefore
        guard isReported ? !isLost : isOurs() else { return Self.closedByHost }
        let count = retrying { ws_receive(descriptor.number, buffer.baseAddress, buffer.count) }
        if count > 0 { return .bytes(count) }
        if count == 0 { return .end }
        return errno == EAGAIN ? .wouldBlock : .failed(.system(errno))
    }

    func write(_ buffer: UnsafeRawBufferPointer) -> Result {
        if let tls { return isOurs() ? tls.write(buffer) : Self.closedByHost }
        guard !isLost else { return Self.closedByHost }
        let count = retrying { writer.write(buffer) }
        if count >= 0 { return .bytes(count) }
        if errno == EBADF { isLost = true }
        return errno == EAGAIN ? .wouldBlock : .failed(.system(errno))
    }

    /// State of TCP's acknowledgements; nil for a Unix socket.
    func acknowledgement(_ now: Nanoseconds) -> Acknowledgement? {
        var state = ws_acknowledgement()
        guard ws_read_acknowledgement(descriptor.number, &state) else { return nil }
        func ago(_ milliseconds: UInt32) -> Nanoseconds { now - min(now, Nanoseconds(milliseconds) * 1_000_000) }
        return Acknowledgement(
            outstanding: Int(state.outstanding), unanswered: Int(state.unanswered), latest: ago(state.silence),
            roundTrip: Nanoseconds(state.round_trip) * 1000, lastSent: ago(state.since_sent), window: Int(state.window),
            acknowledged: state.acknowledged)
    }

    /// Turns off SO_KEEPALIVE: an answer to one of its probes would count as a sign of life of the peer.
    func stopKeepAlive() {
        guard keepsAlive, isOurs() else { return }
        keepsAlive = false
        Self.set(SOL_SOCKET, SO_KEEPALIVE, 0, on: descriptor.number)
    }

    /// Bytes of ours that the kernel took and the peer's kernel did not acknowledge.
    var unacknowledgedBytes: Int {
        let count = ws_unacknowledged_bytes(descriptor.number)
        // Not the close_notify that OpenSSL sends at the end of the stream: 24 bytes in TLS 1.3, 31 in TLS 1.2 with an AEAD.
        return tls != nil && (count == 24 || count == 31) ? 0 : count
    }

    /// Reads from the socket without TLS, for bytes that are thrown away.
    func discard(into buffer: UnsafeMutableRawBufferPointer) -> Result { receive(into: buffer) }

    /// Registers for reading with `discard`.
    func watchForDiscard(_ poller: borrowing Poller) {
        guard isOurs() else { return }
        interest = .read
        poller.change(descriptor, token, to: [.read, .edge])
    }

    func sendCloseNotify() {
        if descriptor.isOurs { tls?.sendCloseNotify() }
    }

    /// Ends the sending side. The peer can still send.
    func shutDownWriting() {
        guard descriptor.isOurs else { return }
        tls?.sendCloseNotify()
        shutdown(descriptor.number, Int32(SHUT_WR))
    }
}
