import Testing

@testable import WebSocketProtocol

@Suite struct CloseCodeTests {
    static let refused: [UInt16] = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]
    static let accepted: [UInt16] = Array(1000...1003) + Array(1007...1014) + [3000, 3999, 4000, 4999]

    @Test(arguments: refused) func mustNotBeSent(code: UInt16) {
        #expect(!CloseCode(rawValue: code).isSendable)
    }

    @Test(arguments: accepted) func mayBeSent(code: UInt16) {
        #expect(CloseCode(rawValue: code).isSendable)
    }

    @Test func everyCodeOfTheRegistryAndNoOther() {
        let sendable = (0...UInt16.max).filter { CloseCode(rawValue: $0).isSendable }
        #expect(sendable == Array(1000...1003) + Array(1007...1014) + Array(3000...4999))
    }

    @Test(
        arguments: [
            (CloseCode.normal, 1000), (.goingAway, 1001), (.protocolError, 1002), (.noStatus, 1005), (.abnormal, 1006),
            (.invalidData, 1007), (.tooBig, 1009), (.internalError, 1011),
        ] as [(CloseCode, UInt16)])
    func namedCodes(code: CloseCode, value: UInt16) {
        #expect(code.rawValue == value)
    }
}

@Suite struct CloseFrameTests {
    @Test func codeAndReasonOnTheWire() {
        #expect(CloseFrame(code: .goingAway, reason: "bye").body == [0x03, 0xE9, 0x62, 0x79, 0x65])
        #expect(CloseFrame(code: .normal).body == [0x03, 0xE8])
    }

    @Test func noStatusIsAnEmptyBody() {
        #expect(CloseFrame(code: .noStatus).body == [])
    }

    @Test func readsItsOwnBody() throws {
        for frame in [CloseFrame(code: .normal, reason: "å"), CloseFrame(code: .tooBig), CloseFrame(code: .noStatus)] {
            #expect(try read(frame.body) == frame)
        }
    }

    @Test func theLongestReasonFits() throws {
        let reason = String(repeating: "x", count: CloseFrame.maximumReason)
        #expect(CloseFrame(code: .normal, reason: reason).body.count == 125)
    }

    @Test func oneByteIsNoCode() {
        #expect(
            throws: ProtocolFailure(.protocolError, "the Close frame has a body of one byte (RFC 6455 5.5.1)")
        ) { try read([0x03]) }
    }

    @Test(arguments: CloseCodeTests.refused) func refusedCode(code: UInt16) {
        #expect(
            throws: ProtocolFailure(
                .protocolError, "the Close frame has the code \(code), which must not be sent (RFC 6455 7.4)")
        ) { try read(bigEndian(UInt64(code), bytes: 2)) }
    }

    @Test(arguments: [[0xFF], [0x61, 0xC3], [0xED, 0xA0, 0x80], [0xC0, 0x80]] as [[UInt8]])
    func theReasonIsUTF8(reason: [UInt8]) {
        #expect(
            throws: ProtocolFailure(.invalidData, "the reason of the Close frame is not UTF-8 (RFC 6455 5.5.1)")
        ) { try read([0x03, 0xE8] + reason) }
    }

    private func read(_ body: [UInt8]) throws -> CloseFrame {
        try body.withUnsafeBytes { try CloseFrame(body: $0) }
    }
}
