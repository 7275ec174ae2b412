// Implements the functions of CLua.h for servers and their requests. The C files of CLua call them on the thread that runs the
// Lua state.

public import CLua
import WebSocketEngine
import WebSocketProtocol

@c @implementation
public func ws_options_new_server() -> OpaquePointer {
    withoutForks { retained(OptionsBox(.server(ServerOptions()))) }
}

@c @implementation
public func ws_options_new_answer() -> OpaquePointer {
    withoutForks { retained(OptionsBox(.answer(AnswerOptions()))) }
}

@c @implementation
public func ws_server_listen(
    _ state: OpaquePointer, _ options: OpaquePointer, _ id: UInt32, _ failure: UnsafeMutablePointer<ws_failure>
) -> OpaquePointer? {
    withoutForks(state, as: LuaState.self) { state in
        guard case .server(let options) = with(options, as: OptionsBox.self, { $0.kind }) else { return nil }
        do throws(ServerFailure) {
            let server = try Server(options, queue: state.queue, id: id)
            try server.start()
            return retained(server)
        } catch {
            failure.set(error.reason)
            return nil
        }
    }
}

@c @implementation
public func ws_server_free(_ server: OpaquePointer) {
    withoutForks(server, as: Server.self) { _ = $0.close(CloseFrame(code: .goingAway)) }
    release(server, as: Server.self)
}

@c @implementation
public func ws_server_reset(_ server: OpaquePointer) { with(server, as: Server.self) { $0.reset() } }

@c @implementation
public func ws_server_close(_ server: OpaquePointer, _ code: UInt16, _ reason: ws_slice) -> Bool {
    withoutForks(server, as: Server.self) { $0.close(checkedFrame(code, reason)) }
}

@c @implementation
public func ws_server_state(_ server: OpaquePointer) -> UnsafePointer<CChar> {
    let name: StaticString =
        switch with(server, as: Server.self, { $0.state }) {
        case .listening: "listening"
        case .closing: "closing"
        case .closed: "closed"
        }
    return UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
}

@c @implementation
public func ws_server_address(_ server: OpaquePointer) -> ws_slice {
    with(server, as: Server.self) { server in
        server.addressBytes.withUnsafeBufferPointer {
            ws_slice(bytes: UnsafeRawPointer($0.baseAddress)?.assumingMemoryBound(to: CChar.self), count: $0.count)
        }
    }
}

@c @implementation
public func ws_server_port(_ server: OpaquePointer) -> Int32 { with(server, as: Server.self) { Int32($0.port) } }

@c @implementation
public func ws_server_connections(_ server: OpaquePointer) -> Int {
    with(server, as: Server.self) { max($0.connections, 0) }
}

@c @implementation
public func ws_state_accepted_by(_ state: OpaquePointer, _ websocket: UInt32) -> UInt32 {
    with(state, as: LuaState.self) { $0.queue.serverOfAccepted(websocket) }
}

@c @implementation
public func ws_state_take_accepted(_ state: OpaquePointer, _ websocket: UInt32) -> OpaquePointer? {
    withoutForks(state, as: LuaState.self) { $0.queue.takeAccepted(websocket).map { retained($0) } }
}

@c @implementation
public func ws_state_requested_of(_ state: OpaquePointer, _ websocket: UInt32) -> UInt32 {
    with(state, as: LuaState.self) { $0.queue.serverOfRequest(websocket) }
}

@c @implementation
public func ws_state_take_request(_ state: OpaquePointer, _ websocket: UInt32) -> OpaquePointer? {
    withoutForks(state, as: LuaState.self) { $0.queue.takeRequest(websocket).map { retained($0) } }
}

@c @implementation
public func ws_request_free(_ request: OpaquePointer) { release(request, as: IncomingRequest.self) }

@c @implementation
public func ws_request_answer(
    _ request: OpaquePointer, _ decision: ws_decision, _ answer: OpaquePointer?,
    _ failure: UnsafeMutablePointer<ws_failure>
) -> Bool {
    withoutForks(request, as: IncomingRequest.self) { request in
        let answer = answer.map { with($0, as: OptionsBox.self) { $0.kind } }
        do throws(AnswerFailure) {
            switch (decision, answer) {
            case (WS_REQUEST_ANSWER, .answer(let options)): try request.answer(try options.decision())
            case (WS_REQUEST_FORBID, _): try request.answer(.forbid)
            default: try request.answer(.proceed)
            }
            return true
        } catch {
            failure.set(error.reason)
            return false
        }
    }
}

@c @implementation
public func ws_request_is_over(_ request: OpaquePointer) -> Bool {
    with(request, as: IncomingRequest.self) { $0.hasEnded }
}

@c @implementation
public func ws_request_fail(_ request: OpaquePointer) { with(request, as: IncomingRequest.self) { $0.fail() } }

@c @implementation
public func ws_broadcast(
    _ state: OpaquePointer, _ opcode: UInt8, _ message: ws_slice, _ websockets: UnsafePointer<OpaquePointer?>,
    _ results: UnsafeMutablePointer<Bool>, _ count: Int, _ failure: UnsafeMutablePointer<ws_failure>
) -> Bool {
    withoutForks {
        do throws(SendFailure) {
            var broadcast = try Broadcast(Opcode(rawValue: opcode) ?? .binary, message.buffer)
            with(state, as: LuaState.self) { state in
                for index in 0..<count {
                    let isFirst = results[index]
                    results[index] = false
                    guard let websocket = websockets[index] else { continue }
                    results[index] = with(websocket, as: WebSocket.self) {
                        broadcast.send(
                            to: $0, random: &state.random, directly: isFirst)
                    }
                }
            }
            return true
        } catch {
            failure.set(error.reason)
            return false
        }
    }
}
