// What the loop lends to a session while the session works: poller, clock, buffers, caches. Owned by Loop; used by Session
// and by all that it calls, on the thread that runs the loop.

import CLinux
import Glibc
import WebSocketProtocol

struct LoopContext: ~Copyable {
    var poller: Poller
    var deadlines = DeadlineHeap()
    var random = RandomPool()
    /// Sockets that used up their share of this turn. With edge-triggered epoll no further event will come for them, so the
    /// loop calls them again in the next turn.
    var unfinished: [Poller.Token] = []
    /// Set when a socket received so much in this turn, and has more, that reading on while Lua delivers saves time.
    var isStreaming = false
    /// Set by a session that has worked for some microseconds at most; cleared before the session is called.
    var wasBrief = false
    /// Sockets whose write was delayed, so that more messages go into one write.
    var coalescing: [Poller.Token] = []
    /// Events of the session at work that were not published yet.
    var records = EventRecords()
    /// True when the process ends: no connection is started any more.
    var isShuttingDown = false
    /// Time at which this turn's wait ended.
    var now = WebSocketEngine.now()
    let commandQueue: CommandQueue
    var resolver = Resolver()
    var tlsContexts = TLSContextCache()
    /// Bytes.
    static let readBufferSize = 256 << 10
    /// Read buffer of all sockets. Large payloads are read directly into their message instead.
    let readBuffer: UnsafeMutableRawBufferPointer

    /// - Parameter readBuffer: of `allocate`; freed with the context.
    init(_ poller: consuming Poller, _ commandQueue: CommandQueue, adopting readBuffer: UnsafeMutableRawBufferPointer) {
        self.poller = poller
        self.commandQueue = commandQueue
        self.readBuffer = readBuffer
    }

    deinit { free(readBuffer.baseAddress) }
}
