import Glibc
import Testing

@testable import WebSocketEngine

extension OpenConnectionTests {
    @Test func aFloodOfTinyFramesGetsAShortTurn() throws {
        let pair = try Pair()
        let frame: [UInt8] = [0x82, 1, 0x61]
        let flood = (0..<1 << 19).map { frame[$0 % 3] }
        let sent = write(pair.peer, flood, flood.count)
        try #require(sent > LoopContext.readBufferSize + 200_000)
        let event = Poller.Readiness(
            token: pair.connection.token, readable: true, writable: false, endsOrStops: false)
        #expect(pair.connection.ready(event, &pair.loop) == .going)
        let first = pair.queue.count
        for turn in 1...2 {
            #expect(pair.connection.ready(.requestedTurn(pair.connection.token), &pair.loop) == .going)
            #expect(pair.queue.count - first <= turn * (64 << 10) / 3 + turn)
        }
        #expect(pair.queue.count > first)
    }
}
