// Implements the functions of CLua.h that take options: of a websocket, of a server, of the answer to a request. options.c calls
// them on the thread that runs the Lua state.

public import CLua
import WebSocketEngine

/// Options while C reads them from a table.
final class OptionsBox {
    enum Kind {
        case websocket(Options)
        case server(ServerOptions)
        case answer(AnswerOptions)
    }

    var kind: Kind

    init(_ kind: Kind) { self.kind = kind }

    func set(_ path: String, _ value: ws_option_value) throws(Options.Failure) {
        if case .answer(var options) = kind, path == "body" {
            options.setBody(value.string.buffer)
            return kind = .answer(options)
        }
        let value: Options.Value =
            switch value.type {
            case WS_OPTION_STRING: .string(try value.string.text())
            case WS_OPTION_NUMBER: .number(value.number)
            case WS_OPTION_LIST: .list
            default: .boolean(value.boolean)
            }
        switch kind {
        case .websocket(var options):
            try options.set(path, value)
            kind = .websocket(options)
        case .server(var options):
            try options.set(path, value)
            kind = .server(options)
        case .answer(var options):
            try options.set(path, value)
            kind = .answer(options)
        }
    }

    func addHeader(_ name: String, _ value: String) throws(Options.Failure) {
        switch kind {
        case .websocket(var options):
            try options.addHeader(name, value)
            kind = .websocket(options)
        case .server(var options):
            try options.addHeader(name, value)
            kind = .server(options)
        case .answer(var options):
            options.addHeader(name, value)
            kind = .answer(options)
        }
    }
}

@c @implementation
public func ws_options_new() -> OpaquePointer {
    withoutForks {
        var options = Options()
        options.setProxyFromEnvironment()
        options.setKeyLogFromEnvironment()
        return retained(OptionsBox(.websocket(options)))
    }
}

@c @implementation
public func ws_options_free(_ options: OpaquePointer) { release(options, as: OptionsBox.self) }

/// Calls `body` with the options. If it throws, writes the reason and returns false.
private func change(
    _ options: OpaquePointer, _ failure: UnsafeMutablePointer<ws_failure>,
    _ body: (OptionsBox) throws(Options.Failure) -> Void
) -> Bool {
    withoutForks(options, as: OptionsBox.self) { box in
        do throws(Options.Failure) {
            try body(box)
            return true
        } catch {
            failure.set(error.reason)
            return false
        }
    }
}

@c @implementation
public func ws_options_set(
    _ options: OpaquePointer, _ path: UnsafePointer<CChar>, _ value: ws_option_value,
    _ failure: UnsafeMutablePointer<ws_failure>
) -> Bool {
    change(options, failure) { (box) throws(Options.Failure) in try box.set(String(cString: path), value) }
}

@c @implementation
public func ws_options_header(
    _ options: OpaquePointer, _ name: ws_slice, _ value: ws_slice, _ failure: UnsafeMutablePointer<ws_failure>
) -> Bool {
    change(options, failure) { (box) throws(Options.Failure) in try box.addHeader(name.text(), value.text()) }
}
