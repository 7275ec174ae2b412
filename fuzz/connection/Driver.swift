// The engine's side of a run: one OpenConnection on a real Unix socket, with the parts of Loop and Session that call
// it. Everything is on one thread, and the clock moves only by `advanceTime`.

import CLinux
import Glibc
@testable import WebSocketEngine
@testable import WebSocketProtocol

final class Driver {
    /// A command of the script to the loop.
    enum Command { case flush, resume, close(CloseFrame), refuse(Int) }

    struct Setup {
        var options = Options()
        var role = Role.client
        var agreement: DeflateParameters?
        var thresholds = Thresholds()
        /// Bytes of the loop's read buffer.
        var readBufferSize = 256 << 10
        /// SO_SNDBUF of the connection's socket.
        var sendBuffer: Int32?
        var keepaliveKey: UInt32 = 0x6b65_7921
    }

    private var loop: LoopContext
    /// nil once it is over.
    private var connection: OpenConnection?
    private var lingeringClose: LingeringClose?
    let socket: WebSocket
    let queue = EventQueue()
    /// Posted and not executed.
    private var commands: [Command] = []
    /// The kinds of the ERROR events.
    private(set) var failures: [String] = []
    private(set) var summary: OpenConnection.Summary?
    /// Whether a deadline ended the connection.
    private(set) var isTimedOut = false
    private(set) var isRefused = false
    private var isInTimeout = false

    /// - Parameter accept: called when the socket has connected: makes the peer, and returns bytes that came after the
    ///   handshake's response.
    init(_ setup: Setup, accept: () -> [UInt8]) throws {
        loop = LoopContext(
            try Poller(), try CommandQueue(try LoopOwnership()), adopting: try allocate(setup.readBufferSize))
        Listener.listen()
        let transport = try Transport(connecting: Listener.address, slot: 0, &loop.poller)
        if var size = setup.sendBuffer, let descriptor = transport.writerForScript?.descriptor.number {
            setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        }
        let early = accept()
        socket = try Self.webSocket(setup, queue)
        var agreement = ClientHandshake.Agreement()
        agreement.deflate = setup.agreement
        let connection = OpenConnection(
            socket, transport, agreement, early, key: setup.keepaliveKey, now: loop.now, thresholds: setup.thresholds)
        connection.onFailure = { [unowned self] kind, _, _ in failures.append(kind) }
        require(connection.open())
        self.connection = connection
        work { $0.start(&$1) }
    }

    private static func webSocket(_ setup: Setup, _ queue: EventQueue) throws -> WebSocket {
        guard setup.role == .server else { return WebSocket(setup.options, queue: queue, id: 1) }
        var options = ServerOptions()
        options.address = try ListenAddress("127.0.0.1:0")
        options.connection = setup.options
        return WebSocket(acceptedBy: try Server(options, queue: queue, id: 1))
    }

    var isOver: Bool { summary != nil }
    var isPaused: Bool { connection?.isPaused == true }
    var isEnding: Bool { connection?.closing.isOpen == false }
    /// Whether there is work that no socket event will announce.
    var isBusy: Bool { !commands.isEmpty || !loop.unfinished.isEmpty || !loop.coalescing.isEmpty }
    var bufferedAmount: Int { socket.bufferedAmount }

    /// Bytes that the connection has not consumed: in the socket, or waiting to be inflated.
    var unconsumed: Int {
        var count: Int32 = 0
        guard let connection, let descriptor = connection.transport.writerForScript?.descriptor.number else { return 0 }
        _ = ioctl(descriptor, UInt(FIONREAD), &count)
        return Int(count) + connection.reader.unconsumed
    }

    /// For the report of a failure.
    var description: String {
        let state =
            connection.map { "paused \($0.isPaused) writing \($0.isWaitingForWritable) closing \($0.closing.state)" }
            ?? "over: \(summary.map { "\($0)" } ?? "")"
        return state + ", commands \(commands) unfinished \(loop.unfinished.count) coalescing \(loop.coalescing.count) "
            + "queued \(queue.count) unsent \(bufferedAmount) unconsumed \(unconsumed) errors \(failures)"
    }

    func post(_ command: Command) { commands.append(command) }

    func advanceTime(_ time: Nanoseconds) { loop.now += time }

    /// As `Loop.runOnce`.
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
            require(queue.count == queued, "it reads while it is paused")
        }
        execute()
        let coalescing = loop.coalescing.count
        for _ in 0..<coalescing { work { $0.flush(&$1) } }
        loop.coalescing.removeFirst(coalescing)
        if let deadline = connection?.deadline, deadline <= loop.now {
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
        let commands = commands
        self.commands = []
        for command in commands {
            switch command {
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

    /// Calls the connection and, when it is over, ends it as Session does.
    private func work(_ body: (OpenConnection, inout LoopContext) -> OpenConnection.Progress) {
        guard let connection, body(connection, &loop) == .over else { return }
        self.connection = nil
        summary = connection.finish()
        isTimedOut = isInTimeout
        connection.freeIdleMemory(&loop)
        if connection.lingers {
            let closesNow = socket.role == .server || connection.closing.result?.isClean != true
            let lingeringClose = LingeringClose(connection.transport, closesNow: closesNow, &loop)
            if !lingeringClose.isOver(&loop) { self.lingeringClose = lingeringClose }
        }
        socket.publish(&loop.records)
    }
}

/// The Unix socket that every run connects to.
enum Listener {
    private static let path = "/tmp/websocket-fuzz-\(getpid())"
    static let address = Address(path: path)!
    private static let descriptor: Int32 = {
        let number = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        require(address.withSockaddr { bind(number, $0, $1) } == 0 && Glibc.listen(number, 16) == 0)
        atexit { unlink(Listener.path) }
        return number
    }()

    static func listen() { _ = descriptor }

    static func accept() -> Int32 {
        let number = Glibc.accept(descriptor, nil, nil)
        require(number >= 0)
        return number
    }
}
