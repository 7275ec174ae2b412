// A socket and what the loop watches it for. Reads and writes tell what happened in one word; none blocks.

import CLinux
import Glibc

final class Transport {
    enum Result {
        case bytes(Int)
        case wouldBlock
        /// The peer has closed its side.
        case end
        case failed(Int32)
    }

    enum Connected { case pending, connected, failed(Int32) }

    private let descriptor: FileDescriptor
    let token: Poller.Token
    private var interest: Poller.Interest = .write

    /// Begins to connect: `connected` tells more once it is writable.
    init(connecting address: Address, slot: Int, _ poller: inout Poller) throws(SystemError) {
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let number = socket(address.family, type, 0)
        guard number >= 0 else { throw SystemError("socket") }
        descriptor = FileDescriptor(number)
        // A message is sent as a whole: nothing is gained by waiting for more (Nagle).
        var on: Int32 = 1
        setsockopt(number, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
        setsockopt(number, SOL_SOCKET, SO_KEEPALIVE, &on, socklen_t(MemoryLayout<Int32>.size))
        let status = address.withSockaddr { connect(number, $0, $1) }
        guard status == 0 || errno == EINPROGRESS || errno == EINTR else { throw SystemError("connect") }
        token = try poller.add(descriptor, slot: slot, .write)
    }

    func connected() -> Connected {
        var error: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(descriptor.number, SOL_SOCKET, SO_ERROR, &error, &length) == 0 else { return .failed(errno) }
        guard error == 0 else { return .failed(error) }
        if Address.peer(of: descriptor) != nil { return .connected }
        return errno == ENOTCONN ? .pending : .failed(ECONNREFUSED)
    }

    /// The descriptor that Lua's thread may write to as well.
    var direct: Int32? { descriptor.number }

    func watch(_ interest: Poller.Interest, _ poller: borrowing Poller) {
        guard interest != self.interest else { return }
        self.interest = interest
        poller.change(descriptor, token, to: interest)
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) -> Result {
        let count = retrying { recv(descriptor.number, buffer.baseAddress, buffer.count, 0) }
        if count > 0 { return .bytes(count) }
        if count == 0 { return .end }
        return errno == EAGAIN ? .wouldBlock : .failed(errno)
    }

    func write(_ buffer: UnsafeRawBufferPointer) -> Result {
        // SIGPIPE would end the host.
        let count = retrying { send(descriptor.number, buffer.baseAddress, buffer.count, Int32(MSG_NOSIGNAL)) }
        if count >= 0 { return .bytes(count) }
        return errno == EAGAIN ? .wouldBlock : .failed(errno)
    }

    /// No more from us; what the peer still sends is read to its end.
    func finish() { shutdown(descriptor.number, Int32(SHUT_WR)) }
}
