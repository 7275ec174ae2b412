import CEvents
import CLinux
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

@Suite struct SessionTests {
    // MARK: - Connect and close

    @Test func aConnectEndsWithOneLastEvent() throws {
        let test = try TestSession { $0.reconnect = 0 }
        test.connect()
        #expect(test.websocket.state == .connecting)
        let peer = try test.open()
        #expect(test.websocket.state == .open)
        #expect(test.events[0].text("url") == "ws://127.0.0.1:\(test.listener.port)/")
        test.close()
        #expect(test.websocket.state == .closing)
        #expect(try peer.receiveClose(test.loop) == 1000)
        peer.sendClose()
        try test.awaitEvents(2)
        #expect(test.names == "OPEN CLOSE!")
        #expect(test.events[1].integer("code") == 1000)
        #expect(test.events[1].info["clean"] == .boolean(true))
        #expect(test.events[1].info["retryin"] == nil)
        #expect(test.websocket.state == .closed)
        test.loop.pass(60)
        #expect(test.names == "OPEN CLOSE!")
        #expect(test.session.isOver)
    }

    @Test func closeBeforeConnectDoesNothing() throws {
        let test = try TestSession()
        test.close()
        #expect(test.names.isEmpty)
        #expect(test.session.isOver)
    }

    @Test func closeDuringTheLookupEndsItWithoutAWord() throws {
        let test = try TestSession("ws://unknown.test/")
        test.connect()
        test.close()
        #expect(test.names == "ENDED!")
        #expect(test.session.isOver && test.websocket.state == .closed)
        // The answer comes for nobody.
        try test.loop.run(until: { test.loop.answers == 1 })
        #expect(test.names == "ENDED!")
    }

    @Test func closeTakesALookupOutThatWaitsForAThread() throws {
        let dns = SilentDNS()
        defer { dns.answer() }
        let test = try TestSession("ws://waits.test:80/")
        test.loop.context.resolver = try dns.busyResolver()
        test.connect()
        test.close()
        #expect(test.names == "ENDED!")
        let name = HostAndPort(host: "waits.test", port: 80)
        let queue = try CommandQueue(try LoopOwnership())
        #expect(test.loop.context.resolver.resolve(name, 1 << 24, queue) == nil)
        #expect(test.loop.context.resolver.finished(name, queue) == [1 << 24], "nobody else waits")
    }

    @Test func closeDuringTheRaceClosesTheSocket() throws {
        let test = try TestSession()
        test.connect()
        test.close()
        #expect(test.names == "ENDED!")
        let peer = try test.listener.accept(test.loop)
        try peer.receiveEnd(test.loop)
        #expect(peer.received.isEmpty)
    }

    @Test func closeDuringTheHandshakeClosesTheSocket() throws {
        let test = try TestSession()
        test.connect()
        let peer = try test.listener.accept(test.loop)
        let request = try peer.receiveRequest(test.loop)
        test.close()
        #expect(test.names == "ENDED!")
        peer.send(Peer.response(to: request))
        try peer.receiveEnd(test.loop)
        #expect(test.names == "ENDED!")
        #expect(test.session.isOver)
    }

    @Test func closeThatOvertakesTheOpeningLetsNoOpenThrough() throws {
        // The script's thread has closed, and the loop learns of it only after the handshake.
        let test = try TestSession()
        test.connect()
        let peer = try test.listener.accept(test.loop)
        let request = try peer.receiveRequest(test.loop)
        test.websocket.sendQueue.withLock { $0.scriptCloses() }
        peer.send(Peer.response(to: request))
        #expect(try peer.receiveClose(test.loop) == 1001)
        #expect(test.names.isEmpty)
        test.websocket.sendQueue.withLock { $0.callHandled() }
        test.perform { $0.close(CloseFrame(code: .normal), &$1) }
        #expect(test.names == "ENDED!")
        peer.close()
        try test.loop.run(until: { test.session.isOver })
    }

    @Test func aSecondCloseDoesNothing() throws {
        let test = try TestSession()
        test.connect()
        let peer = try test.open()
        test.close()
        test.close()
        #expect(try peer.receiveClose(test.loop) == 1000)
        peer.sendClose()
        try test.awaitEvents(2)
        #expect(test.names == "OPEN CLOSE!")
        peer.receive()
        #expect(peer.received.isEmpty)
    }

    @Test func closeDuringTheWaitEndsIt() throws {
        let test = try TestSession("ws://127.0.0.1:\(try Listener.closedPort())/")
        test.connect()
        try test.awaitEvents(1)
        #expect(test.websocket.state == .waiting)
        test.close()
        #expect(test.names == "ERROR ENDED!")
        test.loop.pass(60)
        #expect(test.names == "ERROR ENDED!")
        #expect(test.session.isOver)
    }

    @Test func connectDuringTheClosingHandshakeBeginsBehindIt() throws {
        let test = try TestSession()
        test.connect()
        let first = try test.open()
        test.close()
        test.connect()
        #expect(try first.receiveClose(test.loop) == 1000)
        first.sendClose()
        try test.awaitEvents(2)
        #expect(test.names == "OPEN CLOSE!")
        _ = try test.open()
        #expect(test.names == "OPEN CLOSE! OPEN")
        #expect(test.websocket.state == .open)
    }

    @Test func aConnectThatIsTakenBackEndsBeforeTheConnectionDoes() throws {
        let test = try TestSession()
        test.connect()
        let peer = try test.open()
        test.close()
        test.connect()
        test.close()
        #expect(test.names == "OPEN ENDED!")
        #expect(try peer.receiveClose(test.loop) == 1000)
        peer.sendClose()
        try test.awaitEvents(3)
        #expect(test.names == "OPEN ENDED! CLOSE!")
        #expect(test.websocket.state == .closed)
    }

    // MARK: - Failures of an open connection

    @Test func aMessageThatLuaHasNoMemoryForFailsItsConnectionOnly() throws {
        let test = try TestSession()
        test.connect()
        let peer = try test.open()
        let number = test.websocket.sendQueue.withLock { $0.connection }
        test.perform { $0.refuse(100, connection: number &- 1, &$1) }
        #expect(test.websocket.state == .open)
        test.perform { $0.refuse(100, connection: number, &$1) }
        #expect(try peer.receiveClose(test.loop) == 1009)
        peer.close()
        try test.awaitEvents(2)
        #expect(test.events[1].name == "CLOSE" && test.events[1].info["remote"] == .boolean(false))
        // For a connection that is gone it comes too late.
        test.perform { $0.refuse(100, connection: number, &$1) }
        #expect(test.names == "OPEN CLOSE")
    }

    // MARK: - Lingering sockets

    @Test func onlyFourSocketsLinger() throws {
        let test = try TestSession()
        test.connect()
        var peers: [Peer] = []
        for count in 1...6 {
            let peer = try test.open()
            peers.append(peer)
            test.loop.pass(0.2)
            // It closes the connection, not the socket.
            peer.sendClose()
            #expect(try peer.receiveClose(test.loop) == 1000)
            try test.awaitEvents(2 * count)
            #expect(test.events.last?.name == "CLOSE")
            test.loop.pass(0)
            try test.loop.run(until: {
                for peer in peers { peer.receive() }
                return peers.map(\.hasEnded) == (1...count).map { $0 <= count - 4 }
            })
        }
        // The rest has 5 s in all.
        test.loop.pass(4)
        for peer in peers { peer.receive() }
        #expect(!peers[5].hasEnded)
        test.loop.pass(1)
        for peer in peers { try peer.receiveEnd(test.loop) }
    }

    @Test func aSocketThatThePeerClosesLingersNoLonger() throws {
        let test = try TestSession { $0.reconnect = 0 }
        test.connect()
        let peer = try test.open()
        peer.sendClose()
        #expect(try peer.receiveClose(test.loop) == 1000)
        try test.awaitEvents(2)
        #expect(!test.session.isOver)
        peer.close()
        try test.loop.run(until: { test.session.isOver })
    }

    // MARK: - Ends from outside

    @Test func dropEndsAnOpenConnectionAndLingeringSockets() throws {
        let test = try TestSession()
        test.connect()
        let lingering = try test.open()
        test.loop.pass(0.2)
        lingering.sendClose()
        try test.awaitEvents(2)
        test.loop.pass(0)
        let peer = try test.open()
        test.close()
        #expect(!test.session.isOver)
        test.perform { $0.drop(&$1) }
        #expect(test.names == "OPEN CLOSE OPEN CLOSE!")
        #expect(test.session.isOver)
        try peer.receiveEnd(test.loop)
        try lingering.receiveEnd(test.loop)
    }

    @Test func atTheEndOfTheProcessThePeerGetsAClose() throws {
        let test = try TestSession()
        test.connect()
        let peer = try test.open()
        test.loop.context.isShuttingDown = true
        test.perform { $0.leave(&$1) }
        #expect(try peer.receiveClose(test.loop) == 1001)
        peer.sendClose()
        try test.loop.run(until: { test.session.isOver })
        #expect(test.names == "OPEN", "its events are dropped")
        try peer.receiveEnd(test.loop)
    }

    @Test func anAbandonedWebsocketReadsOnToThePeersClose() throws {
        // The script has stopped delivering, and is gone: the peer's Close is behind what nobody will deliver.
        let test = try TestSession { $0.maxQueued = 1 }
        test.connect()
        let peer = try test.listener.accept(test.loop)
        try peer.acceptHandshake(test.loop)
        try test.loop.run(until: { test.websocket.state == .open })
        peer.send([0x82, 0])
        try test.loop.run(until: { test.queue.count == 2 })
        peer.send([0x82, 0])
        peer.sendClose()
        test.websocket.dropEvents()
        test.close()
        try test.loop.run(until: { test.websocket.state == .closed })
        #expect(try peer.receiveClose(test.loop) == 1000)
    }

    @Test func theEndOfTheEngineIsTheLastEvent() throws {
        let test = try TestSession { $0.reconnect = 0 }
        test.connect()
        _ = try test.open()
        test.queue.endWebsockets("no descriptors")
        #expect(test.names == "OPEN ERROR CLOSE!")
        #expect(test.websocket.state == .closed)
        // The session's own end is not another one.
        test.perform { $0.drop(&$1) }
        #expect(test.session.isOver)
        #expect(test.names == "OPEN ERROR CLOSE!")
    }
}
