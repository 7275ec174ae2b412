// A tunnel through a SOCKS5 proxy (RFC 1928), with user and password if the proxy asks for them (RFC 1929). The
// proxy's three short answers are read byte by byte, because the length of the last one is in the middle of it. Pure;
// used by Tunnel.

struct SOCKS5 {
    /// The answer that is expected next.
    private enum State { case method, authentication, reply, established }

    /// The message with user and password (RFC 1929 section 2); nil without.
    private let credentials: [UInt8]?
    /// The CONNECT request (RFC 1928 section 4).
    private let request: [UInt8]
    private var state = State.method
    /// The bytes of the answer so far.
    private var answer: [UInt8] = []

    init(_ proxy: Proxy, to host: String, port: Int) throws(TunnelFailure) {
        /// The text after one byte with its length; Proxy has checked that it fits.
        func counted(_ text: String) -> [UInt8] { [UInt8(truncatingIfNeeded: text.utf8.count)] + text.utf8 }
        if let user = proxy.user, let password = proxy.password {
            credentials = [1] + counted(user) + counted(password)
        } else {
            credentials = nil
        }
        // Section 5: ATYP and DST.ADDR.
        let address: [UInt8]
        if let literal = IPAddress(host) {
            address = [literal.isIPv6 ? 4 : 1] + literal.bytes
        } else {
            guard (1...255).contains(host.utf8.count) else {
                throw .invalidResponse("it can't be asked for a name of \(host.utf8.count) bytes")
            }
            address = [3] + counted(host)
        }
        request = [5, 1, 0] + address + [UInt8(truncatingIfNeeded: port >> 8), UInt8(truncatingIfNeeded: port)]
    }

    /// Section 3: sends our methods of authentication; 0 is none, 2 user and password.
    mutating func sendGreeting(_ output: inout ByteBuffer) {
        send(credentials == nil ? [5, 1, 0] : [5, 2, 0, 2], &output, awaiting: .method)
    }

    mutating func receive(
        _ input: UnsafeRawBufferPointer, _ output: inout ByteBuffer
    ) throws(TunnelFailure) -> Bool {
        for byte in input {
            answer.append(byte)
            switch state {
            case .method: try readMethod(&output)
            case .authentication: try readAuthentication(&output)
            case .reply: try readReply()
            case .established: throw .moreThanAnAnswer
            }
        }
        return state == .established
    }

    /// Section 3: VER METHOD.
    private mutating func readMethod(_ output: inout ByteBuffer) throws(TunnelFailure) {
        try checkVersion(5)
        guard answer.count == 2 else { return }
        switch (answer[1], credentials) {
        case (0, _): send(request, &output, awaiting: .reply)
        case (2, let credentials?): send(credentials, &output, awaiting: .authentication)
        case (0xFF, _): throw .invalidResponse("it accepts none of our ways to authenticate")
        case (let method, _):
            throw .invalidResponse("it chose the way \(method) to authenticate, which was not offered")
        }
    }

    /// RFC 1929 section 2: VER STATUS.
    private mutating func readAuthentication(_ output: inout ByteBuffer) throws(TunnelFailure) {
        try checkVersion(1)
        guard answer.count == 2 else { return }
        guard answer[1] == 0 else { throw .invalidResponse("it does not accept user and password") }
        send(request, &output, awaiting: .reply)
    }

    /// Section 6: VER REP RSV ATYP BND.ADDR BND.PORT. The bound address is not used.
    private mutating func readReply() throws(TunnelFailure) {
        try checkVersion(5)
        // Some proxies send nothing after a REP that is no success.
        guard answer.count >= 2 else { return }
        guard answer[1] == 0 else {
            throw TunnelFailure(reason: "it answered: \(Self.words(answer[1]))", status: Int(answer[1]))
        }
        guard answer.count >= 5 else { return }
        let length: Int
        switch answer[3] {
        case 1: length = 4
        case 3: length = 1 + Int(answer[4])
        case 4: length = 16
        case let type: throw .invalidResponse("its answer has an address of the unknown type \(type)")
        }
        if answer.count == 4 + length + 2 { state = .established }
    }

    private func checkVersion(_ version: UInt8) throws(TunnelFailure) {
        guard answer[0] == version else { throw .invalidResponse("its answer is not SOCKS5") }
    }

    private mutating func send(_ bytes: [UInt8], _ output: inout ByteBuffer, awaiting next: State) {
        bytes.withUnsafeBytes { _ = output.append($0) }
        state = next
        answer = []
    }

    /// Section 6: the meaning of REP.
    private static func words(_ reply: UInt8) -> String {
        switch reply {
        case 1: "general failure"
        case 2: "connection not allowed by its rules"
        case 3: "network unreachable"
        case 4: "host unreachable"
        case 5: "connection refused"
        case 6: "TTL expired"
        case 7: "command not supported"
        case 8: "address type not supported"
        default: "unknown code \(reply)"
        }
    }
}
