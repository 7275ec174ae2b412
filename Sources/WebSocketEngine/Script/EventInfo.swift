// The payload of OPEN, ERROR, CLOSE and REQUEST records, in the form of CEvents.h: the error message, then the fields of the `info`
// table. Made by Session, ConnectAttempt and Acceptance, on the thread that runs the loop; read by values.c.

import CEvents
import WebSocketProtocol

struct EventInfo {
    private(set) var payload: [UInt8] = []

    /// - Parameter error: the message of an ERROR, or of a CLOSE without a Close frame; or "".
    init(error: String = "") {
        put(error)
    }

    /// For the CLOSE of a connection that is lost with its engine.
    static func brokenConnection(_ cause: String) -> EventInfo {
        var info = EventInfo(error: cause)
        info.add("cause", cause)
        info.add("code", Int(CloseCode.abnormal.rawValue))
        info.add("reason", "")
        info.add("clean", false)
        info.add("remote", false)
        info.add("unsent", 0)
        return info
    }

    mutating func add(_ name: String, _ value: String?) {
        guard let value else { return }
        tag(WS_INFO_STRING, name)
        put(value)
    }

    mutating func add(_ name: String, _ value: Int) {
        tag(WS_INFO_INTEGER, name)
        put(Int64(value))
    }

    mutating func add(_ name: String, _ value: Double?) {
        guard let value else { return }
        tag(WS_INFO_NUMBER, name)
        put(value)
    }

    mutating func add(_ name: String, _ value: Bool) {
        tag(WS_INFO_BOOLEAN, name)
        put(UInt8(value ? 1 : 0))
    }

    /// A table of header fields: names in lower case, the values of one name joined.
    mutating func add(_ name: String, _ headers: HeaderFields) {
        tag(WS_INFO_TABLE, name)
        for field in headers.joined { add(field.name, field.value) }
        put(UInt8(WS_INFO_END))
    }

    mutating func add(_ name: String, _ list: [String]) {
        tag(WS_INFO_TABLE, name)
        for element in list { add("", element) }
        put(UInt8(WS_INFO_END))
    }

    /// A table of the fields that `body` adds.
    mutating func addTable(_ name: String, _ body: (inout EventInfo) -> Void) {
        tag(WS_INFO_TABLE, name)
        body(&self)
        put(UInt8(WS_INFO_END))
    }

    private mutating func tag(_ tag: Int, _ name: String) {
        put(UInt8(tag))
        // A name's length has one byte; a header's name may be longer than a table's key needs to be.
        let name = name.utf8.prefix(255)
        put(UInt8(name.count))
        payload += name
    }

    private mutating func put<Value: BitwiseCopyable>(_ value: Value) {
        withUnsafeBytes(of: value) { payload += $0 }
    }

    private mutating func put(_ text: String) {
        put(UInt32(truncatingIfNeeded: text.utf8.count))
        payload += text.utf8
    }
}
