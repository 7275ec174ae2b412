// Fuzz target: an open connection. The fuzzer's bytes choose the steps of the script, the peer, the network and the
// clock. After each turn and at the end of a run it checks that every message has arrived, in order, and that there
// was one end.

import Glibc
@testable import WebSocketEngine
@testable import WebSocketProtocol

final class Run {
    private var choices: Choices
    private let driver: Driver
    private let peer: Peer
    private let script: Script
    private var messages = 0
    /// Messages that the peer has received and that were compared with those sent.
    private var checked = 0
    private let keepsAlive: Bool
    /// Upper bound of the peer's messages, in bytes.
    private let maximumMessage: Int

    /// Turns without progress after which a run counts as settled. Compressing or inflating the largest message takes
    /// fewer.
    private static let idleTurns = 16
    /// Turns after which a run counts as a hang.
    private static let maximumTurns = 20_000

    init(_ data: UnsafePointer<UInt8>, _ size: Int) throws {
        var choices = Choices(data, size)
        let setup = Self.setup(&choices)
        // A turn inflates `inflatedPerCall` bytes: larger messages would take too many turns.
        maximumMessage = min(setup.options.maxMessageSize, setup.thresholds.inflatedPerCall * 8)
        keepsAlive = setup.options.pingInterval > 0
        var peer: Peer!
        let early = choices.next()
        let receiveBuffer: Int32? = choices.flag() ? 1 : nil
        driver = try Driver(setup) {
            // The connection is in the listener's queue already: connect() on a Unix socket does not wait for accept().
            let descriptor = Listener.accept()
            require(fcntl(descriptor, F_SETFL, O_NONBLOCK) == 0)
            if var size = receiveBuffer {
                setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<Int32>.size))
            }
            peer = Peer(descriptor, setup.role == .client ? .server : .client, setup.agreement, key: setup.keepaliveKey)
            for number in 0..<Int(early % 4) {
                peer.send(
                    Message(opcode: .text, payload: Content.make(40, isText: true, compresses: true, number: number)),
                    compressed: early & 64 != 0, fragments: 1, pingBetween: false)
            }
            return peer.writeEarly(Int(early))
        }
        self.choices = choices
        self.peer = peer
        script = Script(driver.socket, driver.queue)
    }

    private static func setup(_ choices: inout Choices) -> Driver.Setup {
        var setup = Driver.Setup()
        let first = choices.next()
        setup.options.debug = first & 1 != 0
        setup.options.maxQueued = [0, 1, 200, 5000, 1 << 20, 1 << 30][Int(first >> 1) % 6]
        setup.options.maxMessageSize = first & 16 == 0 ? 64 << 20 : 30_000
        setup.options.maxBuffered = first & 32 == 0 ? 64 << 20 : 100_000
        if first & 64 != 0 { setup.thresholds = smallThresholds() }
        if first & 128 != 0 { setup.readBufferSize = 700 }
        let second = choices.next()
        if second & 1 != 0 {
            var deflate = Options.Deflate()
            deflate.level = Int(second >> 1 & 3) * 3
            deflate.threshold = second & 8 == 0 ? 1 : 64
            setup.options.deflate = deflate
            setup.agreement = DeflateParameters(
                client: .init(windowBits: second & 16 == 0 ? 15 : 9, takeover: second & 32 == 0),
                server: .init(windowBits: second & 64 == 0 ? 15 : 9, takeover: second & 128 == 0))
        }
        let third = choices.next()
        if third & 1 != 0 { setup.sendBuffer = 1 }
        if third & 6 == 2 { setup.options.pingInterval = 1 }
        if third & 6 == 4 { setup.options.pingInterval = 100 }
        setup.options.pongTimeout = 3
        if third & 8 != 0 { setup.role = .server }
        return setup
    }

    func go() {
        while !choices.isEmpty {
            step()
            // Several steps may come before the engine's next turn.
            if choices.flag() { turn() }
        }
        finish()
    }

    // MARK: - Steps

    private func step() {
        switch choices.next() % 24 {
        case 0: send(.text)
        case 1, 2: send(.binary)
        case 3: send(.ping)
        case 4, 5, 6: peerSends()
        case 7: peer.ping(size: Int(choices.next()))
        case 8: peer.pong(Array("unasked".utf8.prefix(Int(choices.next() % 8))))
        case 9, 10: peer.write(atMost: choices.count(upTo: 20_000))
        case 11: peer.write(atMost: .max)
        case 12, 13: peer.read(atMost: choices.count(upTo: 20_000))
        case 14: peer.read(atMost: .max)
        case 15, 16: deliver(Int(choices.next() % 8))
        case 17: deliver(.max)
        case 18: driver.advanceTime(Nanoseconds(choices.next()) * 16_000_000)
        case 19: settle()
        case 20: peer.answerPings()
        default: rareStep()
        }
    }

    /// A step that may end the connection.
    private func rareStep() {
        let trailing = [UInt8](repeating: 0x82, count: Int(choices.next() % 4))
        switch choices.next() % 24 {
        case 0: close()
        case 1: peer.close(CloseFrame(code: CloseCode(rawValue: 4000), reason: "peer"), trailing: trailing)
        case 2: peer.close(CloseFrame(code: .noStatus), trailing: trailing)
        case 3: peer.answerClose()
        case 4: peer.violate([0x83, 0], "protocol", .protocolError, trailing: trailing)
        case 5: peer.violateMasking(trailing: trailing)
        case 6: peer.violate([0x81, 2, 0xC3, 0x28], "protocol", .invalidData, trailing: trailing)
        case 7: peer.violate([0x82, 127, 0, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF], "size", .tooBig, trailing: trailing)
        case 8: peer.violate([0x88, 2, 0x03, 0xEE], "protocol", .protocolError, trailing: trailing)
        case 9: peer.end(closing: false)
        case 10: peer.end(closing: true)
        case 11: driver.advanceTime(Nanoseconds(seconds: 30))
        case 12 where !script.hasClosed && !driver.isOver:
            script.dropWebSocket()
            driver.post(.close(CloseFrame(code: .goingAway)))
        case 13: driver.post(.refuse(1000))
        default: driver.advanceTime(Nanoseconds(seconds: 0.6))
        }
    }

    private func content(isText: Bool, size: Int) -> [UInt8] {
        messages += 1
        return Content.make(size, isText: isText, compresses: choices.flag(), number: messages)
    }

    private func send(_ opcode: Opcode) {
        let size = opcode == .ping ? Int(choices.next() % 126) : choices.size()
        let message = Message(opcode: opcode, payload: content(isText: opcode == .text, size: size))
        switch script.send(message, directly: choices.flag()) {
        case .sent(let wakes): if wakes { driver.post(.flush) }
        case .notOpen:
            require(script.hasClosed || driver.isOver || driver.isEnding, "an open connection refuses a message")
        case .full: require(driver.socket.options.maxBuffered < 1 << 20, "maxbuffered is reached with less than that")
        }
    }

    private func close() {
        guard !script.hasClosed, !driver.isOver else { return }
        let frame = CloseFrame(code: CloseCode(rawValue: 3000), reason: "script")
        script.close(frame)
        driver.post(.close(frame))
    }

    private func peerSends() {
        let isText = choices.flag()
        let size = min(choices.size(), maximumMessage)
        let shape = choices.next()
        peer.send(
            Message(opcode: isText ? .text : .binary, payload: content(isText: isText, size: size)),
            compressed: shape & 1 != 0, fragments: 1 + Int(shape >> 1 & 3), pingBetween: shape & 8 != 0)
    }

    private func deliver(_ limit: Int) {
        if script.deliver(atMost: limit, peer.events) { driver.post(.resume) }
        require(script.delivered <= peer.writtenEvents, "an event before its bytes")
    }

    /// A turn of the engine. Once `maxqueued` bytes wait for the script it must read no more, so that at most one
    /// read and one message come on top of them.
    private func turn() {
        let records = script.undeliveredRecords
        let waiting = peer.events[script.delivered...].prefix(records)
        let bytes = waiting.reduce(0) { $0 + 16 + ($1.event.payload?.count ?? 8) }
        driver.turn()
        let options = driver.socket.options
        // With `debug` there are also records without a frame.
        guard !options.debug, bytes > 0, bytes >= options.maxQueued else { return }
        require(script.undeliveredRecords <= records, "it reads although \(bytes) bytes wait: \(driver.description)")
    }

    // MARK: - Ends

    /// Changes when anything happens.
    private var progress: [Int] {
        [
            peer.written, peer.bytesRead, script.delivered, driver.isOver ? 1 : 0, driver.failures.count,
            driver.bufferedAmount, driver.unconsumed, peer.unread,
        ]
    }

    /// Runs everything until nothing more happens.
    private func settle() {
        var idle = 0
        var before = progress
        for _ in 0..<Self.maximumTurns {
            peer.write(atMost: .max)
            turn()
            deliver(.max)
            peer.read(atMost: .max)
            checkSent()
            idle = progress == before ? idle + 1 : 0
            before = progress
            if idle > Self.idleTurns {
                require(!driver.isBusy, "it is busy without progress: \(driver.description)")
                return checkSettled()
            }
        }
        fail("it never settles")
    }

    /// The peer has received a prefix of the messages that the script sent.
    private func checkSent() {
        require(peer.received.count <= script.sent.count, "a message that the script did not send")
        for index in checked..<peer.received.count {
            require(peer.received[index] == script.sent[index], "another message")
        }
        checked = peer.received.count
    }

    /// While the connection is open, everything that was sent has arrived.
    private func checkSettled() {
        guard !driver.isOver, !driver.isEnding, !peer.isClosed else { return }
        require(!driver.isPaused, "it does not read on")
        require(driver.bufferedAmount == 0, "bytes are left unsent")
        require(!peer.hasPending && script.delivered == peer.events.count, "frames are left unread")
        require(peer.received.count == script.sent.count, "a message is lost")
        require(peer.latestPong == peer.latestPing, "the latest ping is not answered")
    }

    private func finish() {
        settle()
        switch choices.next() % 4 {
        case 0: peer.end(closing: true)
        case 1: peer.close(CloseFrame(code: .goingAway), trailing: [])
        default: close()
        }
        for _ in 0..<2 where !driver.isOver {
            settle()
            peer.answerClose()
        }
        // A peer that does not answer is given up after closetimeout, which begins anew while bytes still leave.
        for _ in 0..<20 where !driver.isOver {
            driver.advanceTime(Nanoseconds(seconds: 6))
            settle()
        }
        guard let summary = driver.summary else { fail("it does not end") }
        // Nothing may follow the end.
        settle()
        check(summary)
    }

    private func check(_ summary: OpenConnection.Summary) {
        require(driver.failures.count <= 1, "more than one ERROR")
        require((summary.result.code == .abnormal) == (summary.result.cause != nil), "1006 and a cause come together")
        if peer.closeReceived != nil {
            require(peer.received.count == script.sent.count, "a Close before messages that were sent earlier")
        }
        if summary.result.isClean {
            require(summary.unsent == 0, "a clean end with unsent bytes: \(driver.description)")
            require(
                peer.hasWrittenEnd && peer.close?.code == summary.result.code, "a clean end without the peer's Close")
            require(peer.isClosed || peer.closeReceived != nil, "a clean end without our Close")
            if summary.result.isRemote, !peer.isClosed {
                require(peer.latestPong == peer.latestPing, "the latest ping is not answered")
            }
        }
        if driver.isTimedOut {
            require(keepsAlive || script.hasClosed || peer.isDone || driver.isRefused, "a timeout for no reason")
            return
        }
        require(
            peer.hasEnded || summary.result.isClean || peer.violation != nil || driver.isRefused, "an end for no reason"
        )
        if driver.isRefused { return }
        // All events from before the end are delivered.
        require(script.isGone || script.delivered == peer.writtenEvents, "events are lost")
        if let violation = peer.violation, peer.hasWrittenEnd {
            require(driver.failures == [violation.kind], "an ERROR of another kind: \(driver.description)")
            require(summary.result.code == .abnormal)
            if !peer.hasEnded, !script.hasClosed { require(peer.closeReceived?.code == violation.code) }
        }
    }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzConnection(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    guard let run = try? Run(data, size) else { fail("no descriptors") }
    run.go()
    return 0
}
