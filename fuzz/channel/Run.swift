// One run: the fuzzer's bytes choose what the script, the peer, the network and the time do, in any order. At the end
// everything has arrived that must, and there was one end.

import Glibc
@testable import WebSocketEngine
@testable import WebSocketProtocol

final class Run {
    private var choices: Choices
    private let driver: Driver
    private let peer: Peer
    private let script: Script
    private var messages = 0
    /// Messages of the script that the peer has, and that are what the script sent.
    private var checked = 0
    private let keepsAlive: Bool
    /// Bytes of the peer's messages.
    private let maximum: Int

    /// LoopOwnership without any progress after which no more is to be expected; a large message is compressed, or inflated, for
    /// fewer before a byte of it leaves.
    private static let patience = 16
    /// LoopOwnership after which it is a hang, whatever happens in them.
    private static let limit = 20_000

    init(_ data: UnsafePointer<UInt8>, _ size: Int) throws {
        var choices = Choices(data, size)
        let setup = Self.setup(&choices)
        // A turn inflates no more than the thresholds say.
        maximum = min(setup.options.maxMessageSize, setup.thresholds.inflatedPerCall * 8)
        keepsAlive = setup.options.pingInterval > 0
        var peer: Peer!
        let early = choices.next()
        let receiveBuffer: Int32? = choices.flag() ? 1 : nil
        driver = try Driver(setup) {
            // Before the first write: a queue of the listener has a connection at once.
            let descriptor = Listener.accept()
            require(fcntl(descriptor, F_SETFL, O_NONBLOCK) == 0)
            if var size = receiveBuffer {
                setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<Int32>.size))
            }
            peer = Peer(descriptor, setup.agreement, key: setup.key)
            for number in 0..<Int(early % 4) {
                peer.send(
                    Message(opcode: .text, payload: Content.make(40, isText: true, compresses: true, number: number)),
                    compressed: early & 64 != 0, fragments: 1, pingBetween: false)
            }
            return peer.takeEarly(Int(early))
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
        if first & 128 != 0 { setup.inputSize = 700 }
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
        return setup
    }

    func go() {
        while !choices.isEmpty {
            step()
            // The engine is not asked after each of them.
            if choices.flag() { driver.turn() }
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
        case 18: driver.pass(Nanoseconds(choices.next()) * 16_000_000)
        case 19: settle()
        case 20: peer.answerPings()
        default: rare()
        }
    }

    /// What ends a connection, or may.
    private func rare() {
        let trailing = [UInt8](repeating: 0x82, count: Int(choices.next() % 4))
        switch choices.next() % 24 {
        case 0: close()
        case 1: peer.close(CloseFrame(code: CloseCode(rawValue: 4000), reason: "peer"), trailing: trailing)
        case 2: peer.close(CloseFrame(code: .noStatus), trailing: trailing)
        case 3: peer.answerClose()
        case 4: peer.violate([0x83, 0], "protocol", .protocolError, trailing: trailing)
        case 5: peer.violate([0x81, 0x80, 0, 0, 0, 0], "protocol", .protocolError, trailing: trailing)
        case 6: peer.violate([0x81, 2, 0xC3, 0x28], "protocol", .invalidData, trailing: trailing)
        case 7: peer.violate([0x82, 127, 0, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF], "size", .tooBig, trailing: trailing)
        case 8: peer.violate([0x88, 2, 0x03, 0xEE], "protocol", .protocolError, trailing: trailing)
        case 9: peer.end(closing: false)
        case 10: peer.end(closing: true)
        case 11: driver.pass(Nanoseconds(seconds: 30))
        case 12 where !script.hasClosed && !driver.isOver:
            script.abandon()
            driver.order(.close(CloseFrame(code: .goingAway)))
        case 13: driver.order(.refuse(1000))
        default: driver.pass(Nanoseconds(seconds: 0.6))
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
        case .sent(let wakes): if wakes { driver.order(.flush) }
        case .notOpen:
            require(script.hasClosed || driver.isOver || driver.isEnding, "an open connection takes no message")
        case .full: require(driver.socket.options.maxBuffered < 1 << 20, "maxbuffered, where nothing fills it")
        }
    }

    private func close() {
        guard !script.hasClosed, !driver.isOver else { return }
        let frame = CloseFrame(code: CloseCode(rawValue: 3000), reason: "script")
        script.close(frame)
        driver.order(.close(frame))
    }

    private func peerSends() {
        let isText = choices.flag()
        let size = min(choices.size(), maximum)
        let shape = choices.next()
        peer.send(
            Message(opcode: isText ? .text : .binary, payload: content(isText: isText, size: size)),
            compressed: shape & 1 != 0, fragments: 1 + Int(shape >> 1 & 3), pingBetween: shape & 8 != 0)
    }

    private func deliver(_ most: Int) {
        if script.deliver(most, peer.events) { driver.order(.resume) }
        require(script.delivered <= peer.writtenEvents, "an event before its bytes")
    }

    // MARK: - Ends

    private var progress: [Int] {
        [
            peer.totalWritten, peer.read, script.delivered, driver.isOver ? 1 : 0, driver.failures.count,
            driver.bufferedAmount, driver.unread, peer.unread,
        ]
    }

    /// Everybody does what there is to do, until nothing more happens.
    private func settle() {
        var idle = 0
        var before = progress
        for _ in 0..<Self.limit {
            peer.write(atMost: .max)
            driver.turn()
            deliver(.max)
            peer.read(atMost: .max)
            checkSent()
            idle = progress == before ? idle + 1 : 0
            before = progress
            if idle > Self.patience {
                require(!driver.isBusy, "it works on and on, and nothing comes of it: \(driver.words)")
                return checkSettled()
            }
        }
        fail("no end")
    }

    /// What the peer has got is what the script has sent, as far as it has come.
    private func checkSent() {
        require(peer.received.count <= script.sent.count, "a message that nobody sent")
        for index in checked..<peer.received.count {
            require(peer.received[index] == script.sent[index], "another message")
        }
        checked = peer.received.count
    }

    /// With an open connection all has come to where it belongs.
    private func checkSettled() {
        guard !driver.isOver, !driver.isEnding, !peer.isClosed else { return }
        require(!driver.isPaused, "it does not read on")
        require(driver.bufferedAmount == 0, "something is not sent")
        require(!peer.hasPending && script.delivered == peer.events.count, "something is not received")
        require(peer.received.count == script.sent.count, "something is lost on its way")
        require(peer.answered == peer.latestPing, "the latest ping is not answered")
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
        // Whoever says nothing is waited for no longer than closetimeout, time and again if bytes go on.
        for _ in 0..<20 where !driver.isOver {
            driver.pass(Nanoseconds(seconds: 6))
            settle()
        }
        guard let summary = driver.summary else { fail("it does not end") }
        // Nothing comes behind the end.
        settle()
        check(summary)
    }

    private func check(_ summary: OpenConnection.Summary) {
        require(driver.failures.count <= 1, "more than one ERROR")
        if peer.closeReceived != nil {
            require(peer.received.count == script.sent.count, "a Close before what was sent")
        }
        if summary.result.isClean {
            require(summary.unsent == 0, "a clean end, and bytes that did not leave: \(driver.words)")
            require(
                peer.isLastWordWritten && peer.close?.code == summary.result.code, "clean, and the peer said no Close")
            require(peer.isClosed || peer.closeReceived != nil, "clean, and the peer got no Close")
            if summary.result.isRemote, !peer.isClosed {
                require(peer.answered == peer.latestPing, "the latest ping is not answered")
            }
        }
        if driver.isTimedOut {
            require(keepsAlive || script.hasClosed || peer.isDone || driver.isRefused, "no time was over")
            return
        }
        require(
            peer.hasEnded || summary.result.isClean || peer.violation != nil || driver.isRefused, "an end for no reason"
        )
        if driver.isRefused { return }
        // What came before the end.
        require(script.isGone || script.delivered == peer.writtenEvents, "events are lost")
        if let violation = peer.violation, peer.isLastWordWritten {
            require(driver.failures == [violation.kind], "another ERROR")
            require(summary.result.code == .abnormal)
            if !peer.hasEnded, !script.hasClosed { require(peer.closeReceived?.code == violation.code) }
        }
    }
}

/// So small that a short message comes to every path of the protocol.
private func smallThresholds() -> Thresholds {
    var thresholds = Thresholds()
    thresholds.readIntoMessage = 24
    thresholds.reservation = 48
    thresholds.detach = 16
    thresholds.inflateIntoRecord = 48
    thresholds.inflatedPerCall = 96
    thresholds.inflateSpace = 32
    thresholds.pendingPongs = 40
    return thresholds
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzChannel(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    guard let run = try? Run(data, size) else { fail("no descriptors") }
    run.go()
    return 0
}
