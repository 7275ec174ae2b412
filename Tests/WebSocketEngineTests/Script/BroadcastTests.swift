import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

/// The websockets have no connection: their frames stay in their queues.
@Suite struct BroadcastTests {
    private let server: Server
    private let text = [UInt8](repeating: UInt8(ascii: "a"), count: 1000)

    init() throws {
        var options = ServerOptions()
        try options.set("address", .string("127.0.0.1:0"))
        try options.set("deflate", .boolean(true))
        try options.set("maxbuffered", .number(2000))
        server = try Server(options, queue: EventQueue(), id: 1)
    }

    private func websocket(_ direction: DeflateParameters.Direction?, compresses: Bool = true) -> WebSocket {
        let websocket = WebSocket(acceptedBy: server)
        let isOpen = websocket.sendQueue.withLock {
            $0.open(
                direct: nil, compresses: compresses, role: .server, independent: direction)
        }
        #expect(isOpen)
        return websocket
    }

    private func frames(of websocket: WebSocket) -> [UInt8] {
        var buffer = ByteBuffer()
        websocket.sendQueue.withLock { $0.take(&buffer) }
        return Array(buffer.bytes)
    }

    /// Sends to each; returns whether each has taken the message.
    private func send(_ text: [UInt8], to websockets: WebSocket...) throws -> [Bool] {
        var random = RandomPool()
        return try text.withUnsafeBytes { bytes in
            var broadcast = try Broadcast(.text, bytes)
            return websockets.map { broadcast.send(to: $0, random: &random, directly: false) }
        }
    }

    @Test func thoseWithTheSameWindowGetTheSameCompressedFrame() throws {
        let wide = DeflateParameters.Direction(windowBits: 15, takeover: false)
        let narrow = DeflateParameters.Direction(windowBits: 9, takeover: false)
        let (a, b, c) = (websocket(wide), websocket(wide), websocket(narrow))
        #expect(try send(text, to: a, b, c) == [true, true, true])
        let frame = frames(of: a)
        #expect(frame == frames(of: b) && frame.first == 0xC1 && frame.count < 40)
        let other = frames(of: c)
        #expect(other.first == 0xC1 && other.count < 60)
    }

    @Test func othersGetThePlainFrame() throws {
        let (plain, taking) = (websocket(nil, compresses: false), websocket(nil))
        #expect(try send(text, to: plain, taking) == [true, true])
        let frame: [UInt8] = [0x81, 126, 0x03, 0xE8] + text
        #expect(frames(of: plain) == frame)
        // OutgoingDeflate compresses this one later.
        #expect(frames(of: taking) == frame)
    }

    @Test func aSmallMessageIsNotCompressed() throws {
        let small = websocket(DeflateParameters.Direction(takeover: false))
        #expect(try send(Array("small".utf8), to: small) == [true])
        #expect(frames(of: small) == [0x81, 5] + Array("small".utf8))
    }

    @Test func oneThatIsNotOpenOrHasTooMuchIsLeftOut() throws {
        let closed = WebSocket(acceptedBy: server)
        let full = websocket(nil, compresses: false)
        #expect(try send(text, to: closed, full) == [false, true])
        #expect(try send(text, to: closed, full) == [false, false])
        #expect(frames(of: full).count == 1004)
        #expect(try send(Array("x".utf8), to: full) == [true])
    }

    @Test func textThatIsNotUTF8GoesToNobody() {
        #expect(throws: SendFailure.self) { try send([0xFF], to: websocket(nil, compresses: false)) }
    }
}
