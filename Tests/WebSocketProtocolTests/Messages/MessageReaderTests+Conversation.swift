// A whole conversation of a client and a server: MessageReader reads what FrameEncoder and Deflater of the other side
// write.

import Testing

@testable import WebSocketProtocol

extension MessageReaderTests {
    @Test(arguments: [9, 15], [true, false])
    func aConversationFromTheHandshakeToTheClose(windowBits: Int, takeover: Bool) throws {
        let direction = DeflateParameters.Direction(windowBits: windowBits, takeover: takeover)
        let handshake = try Sample.handshake(
            subprotocols: ["chat"], deflate: DeflateParameters(client: direction, server: direction))
        let server = ServerHandshake(subprotocols: ["chat"], deflate: DeflateParameters())
        let demand = try server.examine(RequestVerifier.request(handshake.request))
        guard case .open(let head, let agreement) = try server.answer(demand, .proceed) else {
            Issue.record("the request was refused")
            return
        }
        #expect(try handshake.verify(HeadVerifier.head(head.text)) == agreement)
        try converse(#require(agreement.deflate))
    }

    private func converse(_ deflate: DeflateParameters) throws {
        var client = Peer(.client, sends: deflate.client, receives: deflate.server)
        var server = Peer(.server, sends: deflate.server, receives: deflate.client)
        let long = String(repeating: "κόσμε ", count: 5000)
        for message in ["Hello", "", "Hello", long, "", long] {
            client.sendText(message, compressed: true)
            client.sendText(message, compressed: false)
            client.sendPing(Array(message.utf8.prefix(125)))
        }
        let received = server.receive(from: &client)
        #expect(received == .open)
        let expected = ["Hello", "", "Hello", long, "", long].flatMap { message -> [Event] in
            [.text(message), .text(message), .ping(Array(message.utf8.prefix(125)))]
        }
        #expect(server.removeEvents() == expected)

        // The server sends everything back, after its pongs.
        server.sendPongs()
        for case .text(let message) in expected { server.sendText(message, compressed: true) }
        server.sendClose(CloseFrame(code: .goingAway, reason: "bye"))
        let closed = client.receive(from: &server)
        #expect(closed == .closed(CloseFrame(code: .goingAway, reason: "bye")))
        var pongs: [Event] = []
        var texts: [Event] = []
        for event in expected {
            if case .ping(let payload) = event { pongs.append(.pong(payload)) } else { texts.append(event) }
        }
        #expect(client.removeEvents() == pongs + texts)

        client.sendClose(CloseFrame(code: .goingAway))
        let echoed = server.receive(from: &client)
        #expect(echoed == .closed(CloseFrame(code: .goingAway)))
    }

    @Test func twoPeersOfOneRoleFail() {
        for role in [Role.client, .server] {
            var one = Peer(role, sends: .init(), receives: .init())
            var other = Peer(role, sends: .init(), receives: .init())
            one.sendText("Hello", compressed: false)
            let outcome = other.receive(from: &one)
            #expect(outcome != .open)
            #expect(other.removeEvents() == [])
        }
    }
}

/// One side of a connection, with the bytes that it has to send.
private struct Peer: ~Copyable {
    private let role: Role
    private var reader: MessageReader
    private var events = EventRecords()
    private var deflater: Deflater
    private var output = ByteBuffer()
    private var keys = SeededGenerator(seed: 3)

    init(_ role: Role, sends: DeflateParameters.Direction, receives: DeflateParameters.Direction) {
        self.role = role
        reader = MessageReader(role: role, maximumMessageSize: 1 << 20, inflating: receives)
        deflater = Deflater(sends, level: 6)!
    }

    private mutating func mask() -> Mask? {
        role == .client ? Mask(key: UInt32(truncatingIfNeeded: keys.next())) : nil
    }

    private mutating func send(_ opcode: Opcode, compressed: Bool = false, _ payload: [UInt8]) {
        let mask = mask()
        let written = payload.withUnsafeBytes {
            FrameEncoder.append(opcode, compressed: compressed, $0, mask: mask, to: &output)
        }
        #expect(written)
    }

    mutating func sendText(_ text: String, compressed: Bool) {
        let payload = Array(text.utf8)
        send(.text, compressed: compressed, compressed ? deflater.deflated(payload) ?? [] : payload)
    }

    mutating func sendPing(_ payload: [UInt8]) { send(.ping, payload) }

    mutating func sendPongs() {
        for payload in reader.dequeuePongs() { send(.pong, payload) }
    }

    mutating func sendClose(_ frame: CloseFrame) {
        let mask = mask()
        let written = FrameEncoder.append(frame, mask: mask, to: &output)
        #expect(written)
    }

    /// Reads all bytes that the other side has to send, in packets.
    mutating func receive(from other: inout Peer) -> MessageReader.Outcome {
        var outcome = MessageReader.Outcome.open
        while other.output.count > 0 {
            let packet = other.output.array.prefix(1460)
            outcome = reader.receive(packet, into: &events)
            other.output.didRead(packet.count)
        }
        return outcome
    }

    mutating func removeEvents() -> [Event] {
        defer { events.removeAll() }
        return events.events()
    }
}
