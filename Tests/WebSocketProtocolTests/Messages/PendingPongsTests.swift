import TestSupport
import Testing

@testable import WebSocketProtocol

@Suite struct PendingPongsTests {
    @Test func payloadsComeInTheirOrder() {
        var pongs = PendingPongs()
        let pings = [[1, 2], [], [UInt8](repeating: 3, count: 125)]
        for ping in pings { pongs.enqueue(ping) }
        let isEmpty = pongs.isEmpty
        #expect(!isEmpty)
        let payloads = pongs.payloads()
        #expect(payloads == pings)
        let isEmptyAgain = pongs.isEmpty
        #expect(isEmptyAgain)
    }

    /// RFC 6455 section 5.5.3.
    @Test func ofManyTheLatestAreKept() {
        var pongs = PendingPongs()
        for number in UInt8(0)..<200 { pongs.enqueue([UInt8](repeating: number, count: 125)) }
        let payloads = pongs.payloads()
        #expect(payloads.last == [UInt8](repeating: 199, count: 125))
        #expect(payloads.count < 40)
    }

    /// Regression: the length was stored without the payload, and dequeue trapped.
    @Test(.enabled(if: canExhaustMemory)) func withoutMemoryAPingIsKeptWholeOrNotAtAll() async {
        await #expect(processExitsWith: .success) {
            var pongs = PendingPongs()
            let pings = (UInt8(0)..<30).map { [UInt8](repeating: $0, count: 125) }
            withoutMemory { for ping in pings { pongs.enqueue(ping) } }
            let payloads = pongs.payloads()
            #expect(payloads.count < 30)
            #expect(payloads == pings.suffix(payloads.count))
            #expect(payloads.last == pings.last)
        }
    }
}

extension PendingPongs {
    fileprivate mutating func enqueue(_ payload: [UInt8]) { payload.withUnsafeBytes { enqueue($0) } }

    fileprivate mutating func payloads() -> [[UInt8]] {
        var payloads: [[UInt8]] = []
        while let payload = dequeue() { payloads.append(Array(payload)) }
        return payloads
    }
}
