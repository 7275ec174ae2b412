// Close codes (RFC 6455 section 7.4) and the body of a Close frame (section 5.5.1). Pure; used on both threads.

public struct CloseCode: RawRepresentable, Equatable, Sendable {
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    public static let normal = CloseCode(rawValue: 1000)
    public static let goingAway = CloseCode(rawValue: 1001)
    public static let protocolError = CloseCode(rawValue: 1002)
    /// Never sent: stands for a Close frame without a code.
    public static let noStatus = CloseCode(rawValue: 1005)
    /// Never sent: stands for an end without a Close frame.
    public static let abnormal = CloseCode(rawValue: 1006)
    public static let invalidData = CloseCode(rawValue: 1007)
    public static let tooBig = CloseCode(rawValue: 1009)
    public static let internalError = CloseCode(rawValue: 1011)

    /// Whether the code may stand in a Close frame: RFC 6455 section 7.4 and the IANA registry
    /// (1012 to 1014 were added later); 3000 to 4999 are for libraries and applications.
    public var isSendable: Bool {
        switch rawValue {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }
}

public struct CloseFrame: Equatable, Sendable {
    public var code: CloseCode
    public var reason: String

    public init(code: CloseCode, reason: String = "") {
        self.code = code
        self.reason = reason
    }

    /// RFC 6455 section 5.5: 125 bytes for a control frame, two of them for the code.
    public static let maximumReason = 123

    /// The payload of the frame; empty for `noStatus`.
    public var body: [UInt8] {
        if code == .noStatus { return [] }
        return [UInt8(code.rawValue >> 8), UInt8(code.rawValue & 0xFF)] + Array(reason.utf8)
    }

    init(body: UnsafeRawBufferPointer) throws(ProtocolFailure) {
        switch body.count {
        case 0: self.init(code: .noStatus)
        case 1:
            // 5.5.1: if there is a body, its first two bytes are the code.
            throw ProtocolFailure(.protocolError, "the Close frame has a body of one byte (RFC 6455 5.5.1)")
        default:
            let code = CloseCode(rawValue: UInt16(body[0]) << 8 | UInt16(body[1]))
            guard code.isSendable else {
                // 7.4.1, 7.4.2: 1004, 1005, 1006, 1015 and everything unassigned must not be sent.
                throw ProtocolFailure(
                    .protocolError,
                    "the Close frame has the code \(code.rawValue), which must not be sent (RFC 6455 7.4)")
            }
            let reason = UnsafeRawBufferPointer(rebasing: body[2...])
            var validator = UTF8Validator()
            guard validator.validate(reason), validator.isComplete else {
                // 5.5.1 and 8.1: the reason is UTF-8.
                throw ProtocolFailure(.invalidData, "the reason of the Close frame is not UTF-8 (RFC 6455 5.5.1)")
            }
            self.init(code: code, reason: String(decoding: reason, as: UTF8.self))
        }
    }
}
