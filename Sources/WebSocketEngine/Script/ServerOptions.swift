// The options of `websocket.listen`: those of each accepted connection, and those of the server itself. CLua's options.c knows
// each option's name and types; Bridge.swift sets it here, on the thread that runs the Lua state. Afterwards nobody changes the
// options, and the loop reads them.

import WebSocketProtocol

public struct ServerOptions: Sendable {
    /// Those of each connection.
    public var connection = Options()
    var address: ListenAddress?
    var origins = OriginPolicy.sameHost
    /// The script has a function onrequest.
    var asksRequests = false
    var maxConnections = 10000
    var reusePort = false
    /// Connections that the kernel completes before they are accepted.
    var backlog = 1024

    public init() {
        connection.connectTimeout = 10
        connection.pingInterval = 30
        connection.maxMessageSize = 1 << 20
        connection.maxBuffered = 1 << 20
        connection.maxQueued = 1 << 20
        connection.reconnect = 0
        connection.tls.role = .server
    }

    /// Sets one option, as `Options.set`.
    public mutating func set(_ path: String, _ value: Options.Value) throws(Options.Failure) {
        switch (path, value) {
        case ("address", .string(let text)): address = try ListenAddress(text)
        case ("onrequest", .boolean): asksRequests = true
        case ("origins", .list): origins = .list([])
        case ("origins", .string("*")): origins = .any
        case ("origins", .string(let origin)): try addOrigin(origin)
        case ("maxconnections", .number(let value)): maxConnections = try Options.size(value)
        case ("backlog", .number(let value)): backlog = try Options.integer(value, in: 1...65535)
        case ("reuseport", .boolean(let value)): reusePort = value
        case ("tls", .boolean(let value)): isSecure = value
        default: try connection.set(path, value)
        }
    }

    /// The script has given the option `tls`.
    private(set) var isSecure = false

    private mutating func addOrigin(_ origin: String) throws(Options.Failure) {
        guard OriginPolicy.isOrigin(origin) else {
            let text = quotedForError(origin)
            throw Options.Failure(
                "must have origins as browsers send them, as in \"https://example.com\", not '\(text)'")
        }
        if case .list(let origins) = origins {
            self.origins = .list(origins + [origin])
        } else {
            origins = .list([origin])
        }
    }

    /// Adds one field to each response that opens a connection.
    public mutating func addHeader(_ name: String, _ value: String) throws(Options.Failure) {
        var added = HeaderFields()
        added.append(name, value)
        do throws(AnswerFailure) { try added.checkForAnswer() } catch {
            throw Options.Failure("are wrong: \(error.reason)")
        }
        connection.headers.append(name, value)
    }

    /// Whether the kernel probes the connections: pings take the place of that.
    var keepsAlive: Bool { connection.pingInterval == 0 }

    /// What answers each request.
    var handshake: ServerHandshake {
        ServerHandshake(
            origins: origins, subprotocols: connection.protocols, deflate: connection.deflate?.parameters,
            headers: connection.headers)
    }
}
