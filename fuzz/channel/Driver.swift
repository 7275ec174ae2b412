// The engine's side: a channel with a real socket, and what the loop and the session do with it, on one thread and with a
// time of its own.

import CLinux
import Glibc
@testable import WebSocketEngine
@testable import WebSocketProtocol

final class Driver {
    enum Order { case flush, resume, close(CloseFrame), refuse(Int) }

    private var loop: LoopContext
    /// Until it is over, as the session has it.
    private var channel: OpenConnection?
    let socket: WebSocket
    let queue = EventQueue()
    /// What Lua's side has asked the loop for, in order.
    private var orders: [Order] = []
    private var lingeringClose: LingeringClose?
    /// The kinds of the ERRORs.
    private(set) var failures: [String] = []
    private(set) var summary: OpenConnection.Summary?
    /// Whether the connection ended because a time was over.
    private(set) var isTimedOut = false
    private(set) var isRefused = false
    private var isInTimeout = false

    struct Setup {
        var options = Options()
        var agreement: DeflateParameters?
        var thresholds = Thresholds()
        var inputSize = 256 << 10
        var sendBuffer: Int32?
        var key: UInt32 = 0x6b657921
    }

    /// - Parameter accept: makes the peer of the socket that connects, and returns what came behind the handshake's answer.
    init(_ setup: Setup, accept: () -> [UInt8]) throws {
        loop = LoopContext(try Poller(), try CommandQueue(try LoopOwnership()), readBufferSize: setup.inputSize)
        Listener.listen()
        let transport = try Transport(connecting: Listener.address, slot: 0, &loop.poller)
        if var size = setup.sendBuffer, let descriptor = transport.descriptorForScript {
            setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        }
        let early = accept()
        socket = WebSocket(setup.options, queue: queue, id: 1)
        var agreement = ClientHandshake.Agreement()
        agreement.deflate = setup.agreement
        let channel = OpenConnection(
            socket, transport, agreement, early, key: setup.key, now: loop.now, thresholds: setup.thresholds)
        channel.onFailure = { [unowned self] kind, _, _ in failures.append(kind) }
        require(channel.open())
        self.channel = channel
        work { $0.start(&$1) }
    }

    var isOver: Bool { summary != nil }
    var isPaused: Bool { channel?.isPaused == true }
    var isEnding: Bool { channel?.closing.isOpen == false }
    /// Whether something is to be done that no socket will tell of.
    var isBusy: Bool { !orders.isEmpty || !loop.unfinished.isEmpty || !loop.coalescing.isEmpty }
    var bufferedAmount: Int { socket.bufferedAmount }

    /// Bytes that were not read from the socket, or that wait to be inflated.
    var unread: Int {
        var count: Int32 = 0
        guard let channel, let descriptor = channel.transport.descriptorForScript else { return 0 }
        _ = ioctl(descriptor, UInt(FIONREAD), &count)
        return Int(count) + channel.reader.unconsumed
    }

    /// For the report of what was found.
    var words: String {
        let state =
            channel.map {
                "paused \($0.isPaused) writing \($0.isWaitingForWritable) closing \($0.closing.state)"
            } ?? "over: \(summary.map { "\($0)" } ?? "")"
        return state + ", orders \(orders) unfinished \(loop.unfinished.count) coalescing \(loop.coalescing.count) "
            + "queued \(queue.count) unsent \(bufferedAmount) unread \(unread) errors \(failures)"
    }

    func order(_ order: Order) { orders.append(order) }

    func pass(_ time: Nanoseconds) { loop.now += time }

    /// As `Loop.turn`.
    func turn() {
        execute()
        let unfinished = loop.unfinished.count
        let queued = queue.count
        let wasPaused = isPaused
        let count = loop.poller.wait(until: 0)
        for index in 0..<max(count, 0) { ready(loop.poller.readiness(at: index)) }
        for token in loop.unfinished.prefix(unfinished) { ready(.requestedTurn(token)) }
        loop.unfinished.removeFirst(unfinished)
        if wasPaused, isPaused, !socket.options.debug {
            require(queue.count == queued, "it reads although the script is behind")
        }
        execute()
        let lingering = loop.coalescing.count
        for _ in 0..<lingering { work { $0.flush(&$1) } }
        loop.coalescing.removeFirst(lingering)
        if let deadline = channel?.deadline, deadline <= loop.now {
            isInTimeout = true
            work { $0.timeout(&$1) }
            isInTimeout = false
        }
        if let lingeringClose, lingeringClose.deadline <= loop.now { self.lingeringClose = nil }
    }

    private func ready(_ readiness: Poller.Readiness) {
        if !isOver {
            work { $0.ready(readiness, &$1) }
        } else if let lingeringClose, lingeringClose.ready(readiness, &loop) {
            self.lingeringClose = nil
        }
    }

    private func execute() {
        let orders = orders
        self.orders = []
        for order in orders {
            switch order {
            case .flush: work { $0.flush(&$1) }
            case .resume: work { $0.resume(&$1) }
            case .close(let frame):
                socket.sendQueue.withLock { $0.callHandled() }
                work { $0.close(frame, &$1) }
                if socket.isAbandoned { work { $0.abandon(&$1) } }
            case .refuse(let bytes):
                isRefused = isRefused || !isOver
                work { $0.refuse(bytes, &$1) }
            }
        }
    }

    /// Lets the channel work, as the session does: when it is over, it is so once and for all.
    private func work(_ body: (OpenConnection, inout LoopContext) -> OpenConnection.Progress) {
        guard let channel, body(channel, &loop) == .over else { return }
        self.channel = nil
        summary = channel.finish()
        isTimedOut = isInTimeout
        channel.freeIdleMemory(&loop)
        if channel.lingers {
            let lingeringClose = LingeringClose(
                channel.transport, failed: channel.closing.result?.isClean != true, &loop)
            if !lingeringClose.isOver(&loop) { self.lingeringClose = lingeringClose }
        }
        socket.publish(&loop.records)
    }
}

/// Where all channels connect to.
enum Listener {
    private static let path = "/tmp/websocket-fuzz-\(getpid())"
    static let address = Address(path: path)!
    private static let descriptor: Int32 = {
        let number = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        require(address.withSockaddr { bind(number, $0, $1) } == 0 && Glibc.listen(number, 16) == 0)
        atexit { unlink(Listener.path) }
        return number
    }()

    /// Before the first connects.
    static func listen() { _ = descriptor }

    static func accept() -> Int32 {
        let number = Glibc.accept(descriptor, nil, nil)
        require(number >= 0)
        return number
    }
}
