import CEvents
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

@Suite struct ChannelTests {
    /// An open channel, and the peer's end of its socket: all on one thread.
    private final class Pair {
        let channel: Channel
        let peer: Int32
        let socket: WebSocket
        let queue: EventQueue
        var reactor: Reactor

        init(maxQueued: Int = 1 << 30, debug: Bool = false) throws {
            let path = "/tmp/websocket-channel-\(getpid())-\(UInt32.random(in: 0 ... .max))"
            let listener = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            defer {
                close(listener)
                unlink(path)
            }
            let address = try #require(Address(path: path))
            try #require(address.withSockaddr { bind(listener, $0, $1) } == 0 && listen(listener, 1) == 0)
            reactor = Reactor(try Poller(), try Mailbox(try Turns()))
            let transport = try Transport(connecting: address, slot: 0, &reactor.poller)
            peer = accept(listener, nil, nil)
            try #require(peer >= 0 && fcntl(peer, F_SETFL, O_NONBLOCK) == 0)
            var room: Int32 = 1 << 20
            setsockopt(peer, SOL_SOCKET, SO_SNDBUF, &room, socklen_t(4))
            queue = try EventQueue()
            var options = Options()
            options.maxQueued = maxQueued
            options.debug = debug
            socket = WebSocket(options, queue: queue, id: 1)
            channel = Channel(socket, transport, ClientHandshake.Agreement(), [], epoch: 1, key: 0, now: 0)
            try #require(channel.start(&reactor) == .going)
        }

        deinit { close(peer) }

        /// Sends a message from Lua's thread; some of it waits.
        func sendMoreThanLeavesAtOnce() throws -> [UInt8] {
            var random = RandomPool()
            let message = [UInt8](repeating: 0x41, count: 4 << 20)
            let result = message.withUnsafeBytes { bytes in
                withUnsafePointer(to: bytes) {
                    socket.send(.binary, UnsafeBufferPointer(start: $0, count: 1), random: &random, directly: true)
                }
            }
            #expect(result == .sent)
            try #require(socket.bufferedAmount > 0)
            return message
        }

        /// Sends empty messages, as many as the socket takes; returns their bytes.
        func flood() -> Int {
            let frames = (0..<4096).flatMap { _ in [UInt8](arrayLiteral: 0x82, 0) }
            var total = 0
            while true {
                let count = write(peer, frames, frames.count)
                guard count > 0 else { return total }
                total += count
            }
        }
    }

    @Test func anEventBesideWhatWasPromisedIsNoSecondTurn() throws {
        let pair = try Pair()
        let event = Poller.Readiness(token: pair.channel.token, readable: true, writable: false, ends: false)
        var sent = pair.flood()
        try #require(sent > pair.reactor.input.count)
        // More than one turn takes: the rest is promised.
        #expect(pair.channel.ready(event, &pair.reactor) == .going)
        #expect(pair.reactor.unfinished == [pair.channel.token])
        for _ in 0..<5 {
            sent += pair.flood()
            let before = pair.queue.count
            #expect(pair.channel.ready(event, &pair.reactor) == .going)
            #expect(pair.queue.count == before)
            #expect(pair.reactor.unfinished == [pair.channel.token])
            pair.reactor.unfinished.removeAll()
            #expect(pair.channel.ready(.promised(pair.channel.token), &pair.reactor) == .going)
            #expect(pair.queue.count > before)
            #expect(pair.reactor.unfinished == [pair.channel.token])
        }
        // And to the end: none is lost.
        while !pair.reactor.unfinished.isEmpty {
            pair.reactor.unfinished.removeAll()
            #expect(pair.channel.ready(.promised(pair.channel.token), &pair.reactor) == .going)
        }
        #expect(pair.queue.count == sent / 2)
        // Events count again.
        #expect(pair.flood() > 0)
        #expect(pair.channel.ready(event, &pair.reactor) == .going)
        #expect(pair.queue.count > sent / 2)
    }

    @Test(arguments: [false, true]) func aReadThatFillsTheQueuePausesTheNext(debug: Bool) throws {
        // A line for the debug function publishes what came with it: the pause belongs to the read all the same.
        let pair = try Pair(maxQueued: 1, debug: debug)
        let event = Poller.Readiness(token: pair.channel.token, readable: true, writable: false, ends: false)
        let messageAndPing: [UInt8] = [0x82, 0, 0x89, 0]
        try #require(write(pair.peer, messageAndPing, messageAndPing.count) == messageAndPing.count)
        #expect(pair.channel.ready(event, &pair.reactor) == .going)
        let before = pair.queue.count
        #expect(before > 0)
        #expect(pair.flood() > 0)
        #expect(pair.channel.ready(event, &pair.reactor) == .going)
        #expect(pair.queue.count == before)
    }

    @Test func aPongDoesNotBreakIntoAFrameThatTheScriptBegan() throws {
        // The kernel takes a part of a message from Lua's thread; the rest waits for the engine.
        let pair = try Pair()
        pair.channel.open()
        let message = try pair.sendMoreThanLeavesAtOnce()
        let ping: [UInt8] = [0x89, 2, 0x68, 0x69]
        try #require(write(pair.peer, ping, ping.count) == ping.count)
        var event = Poller.Readiness(token: pair.channel.token, readable: true, writable: false, ends: false)
        #expect(pair.channel.ready(event, &pair.reactor) == .going)

        var peer = Connection(role: .server, maximumMessageSize: .max, inflating: nil)
        var log = EventLog()
        event = Poller.Readiness(token: pair.channel.token, readable: false, writable: true, ends: false)
        var input = [UInt8](repeating: 0, count: 1 << 20)
        while log.count < 2 {
            let count = read(pair.peer, &input, input.count)
            try #require(count > 0, "the rest of the frames does not come")
            let outcome = input.withUnsafeMutableBytes {
                peer.receive(UnsafeMutableRawBufferPointer(rebasing: $0[..<count]), into: &log)
            }
            try #require(outcome == .open)
            #expect(pair.channel.ready(event, &pair.reactor) == .going)
        }
        let records = log.bytes
        let first = records.loadUnaligned(as: ws_event.self)
        #expect(Int(first.type) == WS_EVENT_BINARY && first.length == UInt64(message.count))
        let block = records.loadUnaligned(fromByteOffset: MemoryLayout<ws_event>.size, as: ws_block.self)
        #expect(memcmp(block.bytes, message, message.count) == 0)
        let second = records.loadUnaligned(
            fromByteOffset: withUnsafePointer(to: first) { ws_event_size($0) }, as: ws_event.self)
        #expect(Int(second.type) == WS_EVENT_PONG && second.length == 2)
    }

    @Test func aPongDoesNotWaitUntilTheScriptHasNoMoreToSend() throws {
        let pair = try Pair()
        pair.channel.open()
        _ = try pair.sendMoreThanLeavesAtOnce()
        let writable = Poller.Readiness(token: pair.channel.token, readable: false, writable: true, ends: false)
        let readable = Poller.Readiness(token: pair.channel.token, readable: true, writable: false, ends: false)
        #expect(pair.channel.flush(&pair.reactor) == .going)
        let ping: [UInt8] = [0x89, 2, 0x68, 0x69]
        try #require(write(pair.peer, ping, ping.count) == ping.count)
        #expect(pair.channel.ready(readable, &pair.reactor) == .going)
        _ = try pair.sendMoreThanLeavesAtOnce()

        var peer = Connection(role: .server, maximumMessageSize: .max, inflating: nil)
        var log = EventLog()
        var input = [UInt8](repeating: 0, count: 1 << 20)
        var types: [Int] = []
        while types.count < 3 {
            let count = read(pair.peer, &input, input.count)
            try #require(count > 0, "the rest of the frames does not come")
            let outcome = input.withUnsafeMutableBytes {
                peer.receive(UnsafeMutableRawBufferPointer(rebasing: $0[..<count]), into: &log)
            }
            try #require(outcome == .open)
            var offset = 0
            while offset < log.bytes.count {
                let event = log.bytes.loadUnaligned(fromByteOffset: offset, as: ws_event.self)
                types.append(Int(event.type))
                offset += withUnsafePointer(to: event) { ws_event_size($0) }
            }
            log.removeAll()
            #expect(pair.channel.ready(writable, &pair.reactor) == .going)
        }
        #expect(types == [WS_EVENT_BINARY, WS_EVENT_PONG, WS_EVENT_BINARY])
    }

    @Test func aPongDoesNotComeBehindTheClose() throws {
        let pair = try Pair()
        pair.channel.open()
        let message = try pair.sendMoreThanLeavesAtOnce()
        let writable = Poller.Readiness(token: pair.channel.token, readable: false, writable: true, ends: false)
        let readable = Poller.Readiness(token: pair.channel.token, readable: true, writable: false, ends: false)
        #expect(pair.channel.flush(&pair.reactor) == .going)
        // So much is on its way that the pong waits.
        let ping: [UInt8] = [0x89, 2, 0x68, 0x69]
        try #require(write(pair.peer, ping, ping.count) == ping.count)
        #expect(pair.channel.ready(readable, &pair.reactor) == .going)
        #expect(pair.channel.close(CloseFrame(code: .normal), &pair.reactor) == .going)

        var peer = Connection(role: .server, maximumMessageSize: .max, inflating: nil)
        var log = EventLog()
        var input = [UInt8](repeating: 0, count: 1 << 20)
        var outcome = Connection.Outcome.open
        while outcome == .open {
            let count = read(pair.peer, &input, input.count)
            try #require(count > 0, "the rest of the frames does not come")
            outcome = input.withUnsafeMutableBytes {
                peer.receive(UnsafeMutableRawBufferPointer(rebasing: $0[..<count]), into: &log)
            }
            #expect(pair.channel.ready(writable, &pair.reactor) == .going)
        }
        #expect(outcome == .closed(CloseFrame(code: .normal)))
        #expect(log.count == 2 && log.size > message.count)
        #expect(read(pair.peer, &input, input.count) == -1, "nothing comes behind it")
    }
}
