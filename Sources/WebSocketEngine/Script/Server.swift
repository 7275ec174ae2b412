// One server of a script, shared by Lua's thread and the thread that runs the loop: its listening sockets, its options, the
// count of its connections. Owned by Lua's userdata; the loop's part is Listener, and each accepted WebSocket has a reference.

import CEvents
import CLinux
import Glibc
import Synchronization
public import WebSocketProtocol

public final class Server: Sendable {
    /// The values of `server.state`.
    public enum State: Sendable {
        case listening, closing, closed
    }

    let queue: EventQueue
    /// The id in the records of its requests and debug lines.
    let id: UInt32
    let options: ServerOptions
    /// Those of each connection.
    let connectionOptions: SharedOptions
    let handshake: ServerHandshake
    /// Where it listens, as the option `address` is written, with the port that the system has chosen: UTF-8, which C reads.
    public let addressBytes: [UInt8]
    /// 0 for a Unix socket.
    public let port: Int
    /// Empty once the server is closed. Locked for each use: Lua's thread closes them at once.
    private let sockets: Mutex<ListeningSockets>
    /// The numbers of the sockets, for a child of fork.
    private let numbers: [Int32]
    private let isClosed = Atomic(false)
    private let openConnections = Atomic(0)
    /// Set when neither a listening socket nor the socket of a connection is left.
    private let hasEnded = Atomic(false)

    /// Listens at once. Reads the files of the option `tls` before, so that a wrong one is an error here and not at the first
    /// client.
    public init(_ options: ServerOptions, queue: EventQueue, id: UInt32) throws(ServerFailure) {
        if options.isSecure {
            let tls = options.connection.tls
            do throws(TLSFailure) {
                _ = try Fork.whileBlocked { () throws(TLSFailure) in try TLSContext.make(tls) }
            } catch {
                throw ServerFailure("WebSocket server option 'tls': \(error.reason)")
            }
        }
        guard let place = options.address else {
            throw ServerFailure("WebSocket server option 'address' is missing; it is as in \"127.0.0.1:9000\"")
        }
        do throws(SystemError) {
            let sockets = try ListeningSockets(place, options)
            addressBytes = Array(sockets.description.utf8)
            port = Int(sockets.port)
            numbers = sockets.numbers
            self.sockets = Mutex(sockets)
        } catch {
            let reason = SystemError.message(error.number)
            throw ServerFailure("WebSocket server can't listen at \(place.description): \(reason)")
        }
        self.options = options
        self.queue = queue
        self.id = id
        connectionOptions = SharedOptions(options.connection)
        handshake = options.handshake
    }

    // MARK: - Lua's thread

    /// Begins to accept.
    public func start() throws(ServerFailure) {
        do throws(SystemError) {
            let engine = try Engine.startedIfNeeded(for: queue)
            queue.serverStarted(self)
            engine.post(.listen(self))
            engine.endWebsocketsIfFailed(queue)
        } catch {
            throw ServerFailure("WebSocket server can't listen at \(address): \(error.description)")
        }
    }

    var address: String { String(decoding: addressBytes, as: UTF8.self) }

    public var state: State {
        if !isClosed.load(ordering: .acquiring) { return .listening }
        return openConnections.load(ordering: .relaxed) > 0 ? .closing : .closed
    }

    /// Connections that are open or being closed.
    public var connections: Int { openConnections.load(ordering: .relaxed) }

    /// Stops listening at once, and closes each connection. False if the engine has gone: then no record follows.
    @discardableResult
    public func close(_ frame: CloseFrame) -> Bool {
        guard stop() else { return true }
        let isPosted: Void? = Engine.withCurrent { $0.post(.closeServer(self, frame)) }
        if isPosted == nil {
            hasEnded.store(true, ordering: .releasing)
            queue.serverEnded(self)
        }
        return isPosted != nil
    }

    /// Closes the listening sockets. False if they are closed already.
    @discardableResult
    func stop() -> Bool {
        guard !isClosed.exchange(true, ordering: .acquiringAndReleasing) else { return false }
        // Without the lock, for which the loop waits: the file of a Unix socket may be on a slow disk.
        sockets.withLock { $0.takeAll() }.stop()
        return true
    }

    /// In a child of fork: the sockets and connections are the parent's. The child closes its copies of the listening sockets,
    /// else the port would stay taken when the parent ends.
    public func reset() {
        let wasListening = !isClosed.exchange(true, ordering: .relaxed)
        sockets.reset(to: ListeningSockets())
        hasEnded.store(true, ordering: .relaxed)
        openConnections.store(0, ordering: .relaxed)
        guard wasListening else { return }
        for number in numbers where Self.isListening(number) { Glibc.close(number) }
    }

    /// Whether the number stands for a listening socket: the host may have closed ours.
    private static func isListening(_ number: Int32) -> Bool {
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(number, SOL_SOCKET, SO_ACCEPTCONN, &value, &length) == 0 && value == 1
    }

    // MARK: - The thread that runs the loop

    func withSockets<Result>(_ body: (inout ListeningSockets) -> Result) -> Result { sockets.withLock { body(&$0) } }

    /// Accepts a connection from one of the listening sockets.
    func accept(from index: Int) throws(SystemError) -> AcceptedSocket {
        try sockets.withLock { sockets throws(SystemError) in try sockets.accept(from: index) }
    }

    func connectionOpened() { openConnections.add(1, ordering: .relaxed) }
    func connectionClosed() { openConnections.subtract(1, ordering: .relaxed) }

    /// No OPEN follows from here on: publishes a record of that.
    func stoppedOpening(_ records: inout EventRecords) {
        EventInfo().payload.withUnsafeBytes { records.append(essential: WS_EVENT_SERVER_ENDED, socket: id, $0) }
        queue.publish(&records)
    }

    /// The server is closed, and its last connection has ended: publishes the last record, once.
    func ended(_ records: inout EventRecords) {
        guard !hasEnded.exchange(true, ordering: .acquiringAndReleasing) else { return }
        queue.serverEnded(self)
        EventInfo().payload.withUnsafeBytes {
            records.append(essential: WS_EVENT_SERVER_ENDED, socket: id, flags: WS_EVENT_FINAL, $0)
        }
        queue.publish(&records)
    }

    /// The engine has failed: nobody accepts any more, and the connections are gone without `connectionClosed`.
    func engineFailed(_ reason: String, _ records: inout EventRecords) {
        stop()
        openConnections.store(0, ordering: .relaxed)
        debugLine("failed: \(reason)", &records)
        ended(&records)
    }

    /// Publishes a line for the server's `debug` function, if there is one.
    func debugLine(_ line: @autoclosure () -> String, _ records: inout EventRecords) {
        guard options.connection.debug else { return }
        records.append(line: replacingControlCharacters(line()), socket: id)
        queue.publish(&records)
    }
}

/// Why a server can't listen: a sentence for the script.
public struct ServerFailure: Error, Equatable, Sendable {
    public let reason: String

    init(_ reason: String) { self.reason = reason }
}
