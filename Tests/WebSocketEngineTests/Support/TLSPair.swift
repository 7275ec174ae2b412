// Our TLS in both roles: a client and a server, connected by a socketpair, all on the thread of the test.

import CLinux
import COpenSSL
import Dispatch
import Glibc
import Testing

@testable import WebSocketEngine

final class TLSPair {
    private(set) var client: TLSConnection!
    private(set) var server: TLSConnection!
    private let sockets: (client: Int32, server: Int32)

    init(_ client: TLSContext, _ server: TLSContext) throws {
        sockets = try makeSocketPair()
        self.client = try TLSConnection(client, host: "localhost", port: 443, socket: sockets.client)
        self.server = try TLSConnection(accepting: server, socket: sockets.server)
    }

    deinit {
        // They use the sockets until they are freed.
        client = nil
        server = nil
        close(sockets.client)
        close(sockets.server)
    }

    /// Does the handshake until both sides have a result, and reads the server's sessions. Returns both results.
    @discardableResult
    func handshake() throws -> (client: Transport.Result, server: Transport.Result) {
        var (clientResult, serverResult): (Transport.Result?, Transport.Result?)
        for _ in 0..<10 where clientResult == nil || serverResult == nil {
            if clientResult == nil { clientResult = Self.result(client.continueHandshake()) }
            if serverResult == nil { serverResult = Self.result(server.continueHandshake()) }
        }
        if case .bytes? = clientResult, case .bytes? = serverResult { #expect(Self.read(client) == "") }
        return (try #require(clientResult), try #require(serverResult))
    }

    private static func result(_ result: Transport.Result) -> Transport.Result? {
        if case .wouldBlock = result { nil } else { result }
    }

    /// The text that has come; nil at the end of the stream or after a failure.
    static func read(_ connection: TLSConnection) -> String? {
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        return switch bytes.withUnsafeMutableBytes({ connection.read(into: $0) }) {
        case .bytes(let count): String(decoding: bytes[..<count], as: UTF8.self)
        case .wouldBlock: ""
        case .end, .failed: nil
        }
    }

    static func write(_ text: String, _ connection: TLSConnection) -> Bool {
        if case .bytes(text.utf8.count) = Array(text.utf8).withUnsafeBytes(connection.write) { true } else { false }
    }

    /// Why a call failed, in words.
    static func reason(_ result: Transport.Result) -> String? {
        if case .failed(let fault) = result { fault.words } else { nil }
    }

    static func isComplete(_ result: Transport.Result) -> Bool { if case .bytes = result { true } else { false } }
}

extension TLSContext {
    /// A client that trusts these and has a certificate of its own, if there is one.
    static func client(trusting ca: TestCertificate, _ identity: TestCertificate? = nil) throws -> TLSContext {
        var options = Options.TLS()
        options.ca = try ca.pem()
        options.certificate = try identity?.pem()
        options.key = try identity?.keyPEM()
        return try make(options)
    }

    /// A server whose clients need a certificate of `clientCA`, if there is one.
    static func server(
        _ identity: TestCertificate, clientCA: String? = nil, threads: DispatchGroup = DispatchGroup(),
        change: (inout Options.TLS) -> Void = { _ in }
    ) throws -> TLSContext {
        var options = Options.TLS()
        options.role = .server
        options.certificate = try identity.pem() + identity.keyPEM()
        options.ca = clientCA
        change(&options)
        return try make(options, threads)
    }

    /// Speaks this version at most.
    func limit(to version: Int32) {
        SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(version), nil)
    }
}
