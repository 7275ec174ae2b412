// Implements the functions of CLua.h with the engine; the compiler checks each against the header. The C files of
// CLua call them on the thread that runs the Lua state.

public import CLua
import Glibc
import WebSocketEngine
import WebSocketProtocol

/// The object as a pointer for C, which owns one reference until `release`.
func retained<Object: AnyObject>(_ object: Object) -> OpaquePointer {
    OpaquePointer(Unmanaged.passRetained(object).toOpaque())
}

/// Calls `body` with the object. C owns a reference during the call, so no retain is needed.
@inline(__always)
func with<Object: AnyObject, Result>(
    _ pointer: OpaquePointer, as: Object.Type, _ body: (Object) -> Result
) -> Result {
    Unmanaged<Object>.fromOpaque(UnsafeRawPointer(pointer))._withUnsafeGuaranteedRef(body)
}

/// No thread of the host can fork while `body` runs: the first use of a type takes a lock of Swift's runtime, which a child
/// would inherit. Not for what a script does for each message.
@inline(__always)
func withoutForks<Result>(_ body: () -> Result) -> Result {
    let wasBlocked = Fork.block(true)
    defer { Fork.block(wasBlocked) }
    return body()
}

@inline(__always)
func withoutForks<Object: AnyObject, Result>(
    _ pointer: OpaquePointer, as: Object.Type, _ body: (Object) -> Result
) -> Result {
    withoutForks { with(pointer, as: Object.self, body) }
}

func release<Object: AnyObject>(_ pointer: OpaquePointer, as: Object.Type) {
    withoutForks { Unmanaged<Object>.fromOpaque(UnsafeRawPointer(pointer)).release() }
}

extension ws_slice {
    var buffer: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: bytes, count: count) }

    /// A script's string may be any bytes; the options are text.
    func text() throws(Options.Failure) -> String {
        guard let text = String(validating: buffer, as: UTF8.self) else { throw Options.Failure("is not UTF-8") }
        return text
    }
}

extension UnsafeMutablePointer<ws_failure> {
    /// Writes the words, shortened to whole characters that fit.
    func set(_ words: String) {
        withUnsafeMutableBytes(of: &pointee.text) { target in
            var text = Substring(words)
            while text.utf8.count >= target.count { text.removeLast() }
            target.copyBytes(from: text.utf8)
            target[text.utf8.count] = 0
        }
    }
}

// MARK: - The Lua state

/// One Lua state. Only the thread that runs it uses this; `queue` is shared with the loop.
final class LuaState {
    let queue = EventQueue()
    /// The fetched records, which C delivers.
    var fetched = EventRecords()
    var random = RandomPool()
}

@c @implementation
public func ws_state_new() -> OpaquePointer { withoutForks { retained(LuaState()) } }

@c @implementation
public func ws_state_reset(_ state: OpaquePointer) { with(state, as: LuaState.self) { $0.queue.reset() } }

@c @implementation
public func ws_state_free(_ state: OpaquePointer) {
    withoutForks(state, as: LuaState.self) { $0.queue.shut() }
    release(state, as: LuaState.self)
}

@c @implementation
public func ws_state_new_id(_ state: OpaquePointer) -> UInt32 { with(state, as: LuaState.self) { $0.queue.newID() } }

@c @implementation
public func ws_state_queued(_ state: OpaquePointer) -> Int { with(state, as: LuaState.self) { $0.queue.count } }

@c @implementation
public func ws_state_fetch(
    _ state: OpaquePointer, _ limit: Double, _ mask: UnsafeRawPointer?, _ count: UnsafeMutablePointer<Int>
) -> ws_slice {
    with(state, as: LuaState.self) { state in
        state.queue.fetch(&state.fetched, waitingUntil: limit, mask)
        count.pointee = state.fetched.count
        let bytes = state.fetched.bytes
        return ws_slice(bytes: bytes.baseAddress?.assumingMemoryBound(to: CChar.self), count: bytes.count)
    }
}

@c @implementation
public func ws_state_descriptor(_ state: OpaquePointer, _ failure: UnsafeMutablePointer<ws_failure>) -> Int32 {
    withoutForks(state, as: LuaState.self) { state in
        do throws(SystemError) {
            return try state.queue.descriptor()
        } catch {
            failure.set(error.description)
            return -1
        }
    }
}

@c @implementation
public func ws_state_show(_ state: OpaquePointer, _ remain: Bool) {
    with(state, as: LuaState.self) { $0.queue.show(remain) }
}

@c @implementation
public func ws_state_set_timer(_ state: OpaquePointer, _ seconds: Double) {
    with(state, as: LuaState.self) { $0.queue.setTimer(seconds) }
}

@c @implementation
public func ws_state_return_block(_ state: OpaquePointer, _ block: ws_block) {
    withoutForks(state, as: LuaState.self) { $0.queue.giveBack(block) }
}

@c @implementation
public func ws_shut_down() { Engine.shutDown() }

// MARK: - The websocket

@c @implementation
public func ws_websocket_new(_ state: OpaquePointer, _ options: OpaquePointer, _ id: UInt32) -> OpaquePointer {
    withoutForks(state, as: LuaState.self) { state in
        let kind = with(options, as: OptionsBox.self) { $0.kind }
        guard case .websocket(let options) = kind else { preconditionFailure("made by ws_options_new") }
        return retained(WebSocket(options, queue: state.queue, id: id))
    }
}

@c @implementation
public func ws_websocket_reset(_ websocket: OpaquePointer) { with(websocket, as: WebSocket.self) { $0.reset() } }

@c @implementation
public func ws_websocket_free(_ websocket: OpaquePointer) {
    // In any state: the loop may not have executed the last connect() yet.
    withoutForks(websocket, as: WebSocket.self) { $0.abandon() }
    release(websocket, as: WebSocket.self)
}

@c @implementation
public func ws_websocket_connect(
    _ websocket: OpaquePointer, _ failure: UnsafeMutablePointer<ws_failure>
) -> Bool {
    withoutForks(websocket, as: WebSocket.self) { websocket in
        do throws(SystemError) {
            try websocket.connect()
            return true
        } catch {
            failure.set(error.description)
            return false
        }
    }
}

@c @implementation
public func ws_websocket_options(_ websocket: OpaquePointer) -> OpaquePointer {
    withoutForks(websocket, as: WebSocket.self) { retained(OptionsBox(.websocket($0.options))) }
}

@c @implementation
public func ws_websocket_answer(_ websocket: OpaquePointer, _ question: UInt32, _ options: OpaquePointer?) {
    withoutForks(websocket, as: WebSocket.self) { websocket in
        if case .websocket(let options) = options.map({ with($0, as: OptionsBox.self) { $0.kind } }) {
            websocket.answer(question, .goWith(options))
        } else {
            websocket.answer(question, .go)
        }
    }
}

@c @implementation
public func ws_websocket_fail_attempt(_ websocket: OpaquePointer, _ question: UInt32, _ reason: ws_slice) {
    withoutForks(websocket, as: WebSocket.self) { websocket in
        // The first line: a traceback may follow.
        let line = reason.buffer.prefix { $0 != 0x0A }
        websocket.answer(question, .failed(quotedForError(String(decoding: line, as: UTF8.self))))
    }
}

@c @implementation
public func ws_websocket_decline(_ websocket: OpaquePointer, _ question: UInt32) -> Bool {
    withoutForks(websocket, as: WebSocket.self) { $0.decline(question) }
}

@c @implementation
public func ws_websocket_close(_ websocket: OpaquePointer, _ code: UInt16, _ reason: ws_slice) {
    withoutForks(websocket, as: WebSocket.self) { $0.close(checkedFrame(code, reason)) }
}

/// The Close frame of a code and a reason that `ws_may_close` has checked.
func checkedFrame(_ code: UInt16, _ reason: ws_slice) -> CloseFrame {
    CloseFrame(code: CloseCode(rawValue: code), reason: String(decoding: reason.buffer, as: UTF8.self))
}

@c @implementation
public func ws_may_close(
    _ code: Int64, _ reason: ws_slice, _ failure: UnsafeMutablePointer<ws_failure>
) -> Bool {
    withoutForks {
        guard let number = UInt16(exactly: code), CloseCode(rawValue: number).isSendable else {
            failure.set("WebSocket can't close with the code \(code); use 1000, or one from 3000 to 4999")
            return false
        }
        guard reason.count <= CloseFrame.maximumReason else {
            failure.set("WebSocket close reason has \(reason.count) bytes; \(CloseFrame.maximumReason) is the most")
            return false
        }
        var validator = UTF8Validator()
        guard validator.validate(reason.buffer), validator.isComplete else {
            failure.set("WebSocket close reason is not UTF-8")
            return false
        }
        return true
    }
}

@c @implementation
public func ws_websocket_send(
    _ state: OpaquePointer, _ websocket: OpaquePointer, _ opcode: UInt8, _ parts: UnsafePointer<ws_slice>?,
    _ count: Int,
    _ isFirst: Bool, _ failure: UnsafeMutablePointer<ws_failure>
) -> ws_send_status {
    func send(_ parts: UnsafeBufferPointer<UnsafeRawBufferPointer>) -> SendResult {
        with(state, as: LuaState.self) { state in
            with(websocket, as: WebSocket.self) { websocket in
                websocket.send(
                    Opcode(rawValue: opcode) ?? .binary, parts, random: &state.random, directly: isFirst)
            }
        }
    }
    let result =
        if count == 1, let part = parts?[0].buffer {
            withUnsafePointer(to: part) { send(UnsafeBufferPointer(start: $0, count: 1)) }
        } else {
            withUnsafeTemporaryAllocation(of: UnsafeRawBufferPointer.self, capacity: count) { buffers in
                for index in 0..<count { buffers.initializeElement(at: index, to: parts![index].buffer) }
                return send(UnsafeBufferPointer(buffers))
            }
        }
    switch result {
    case .sent: return WS_SENT
    case .notOpen: return WS_SEND_CLOSED
    case .failed(let reason):
        failure.set(reason)
        return WS_SEND_FAILED
    }
}

@c @implementation
public func ws_websocket_flush(_ websocket: OpaquePointer, _ bytes: Int64) -> ws_flush_status {
    switch with(websocket, as: WebSocket.self, { $0.flush(downTo: Int(bytes)) }) {
    case .flushed: WS_FLUSHED
    case .flushing: WS_FLUSHING
    case .noConnection: WS_NO_CONNECTION
    }
}

@c @implementation
public func ws_websocket_delivered(_ websocket: OpaquePointer, _ bytes: Int) {
    with(websocket, as: WebSocket.self) { $0.delivered(bytes) }
}

@c @implementation
public func ws_websocket_refuse(_ websocket: OpaquePointer, _ bytes: Int, _ connection: UInt32) {
    with(websocket, as: WebSocket.self) { $0.refuse(bytes, connection: connection) }
}

@c @implementation
public func ws_websocket_state(_ websocket: OpaquePointer) -> UnsafePointer<CChar> {
    let name: StaticString =
        switch with(websocket, as: WebSocket.self, { $0.state }) {
        case .closed: "closed"
        case .connecting: "connecting"
        case .open: "open"
        case .closing: "closing"
        case .waiting: "waiting"
        }
    return UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
}

@c @implementation
public func ws_websocket_bufferedamount(_ websocket: OpaquePointer) -> Int {
    with(websocket, as: WebSocket.self) { $0.bufferedAmount }
}

@c @implementation
public func ws_websocket_attempts(_ websocket: OpaquePointer) -> Int32 {
    with(websocket, as: WebSocket.self) { Int32(truncatingIfNeeded: $0.attempts) }
}

@c @implementation
public func ws_websocket_latency(_ websocket: OpaquePointer) -> Double {
    with(websocket, as: WebSocket.self) { $0.latency ?? -1 }
}
