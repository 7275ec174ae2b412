// The opening handshake over a connected socket: the request out, the response in, and the first bytes of the body if
// the server refuses. ConnectAttempt owns it and calls it on the thread that runs the loop.

import WebSocketProtocol

final class HandshakeExchange {
    enum Progress {
        case pending
        /// The connection is open; `rest` are the bytes that came behind the response.
        case completed(ClientHandshake.Agreement, rest: [UInt8])
        /// The Location field says where to; `reason` is the response in words.
        case redirected(HTTPHead, reason: String)
        /// Another status than 101; the body is complete, or large enough.
        case refused(Refusal)
        /// A response that no WebSocket server gives.
        case invalidResponse(HandshakeFailure)
        /// The socket ended before the response did, in words.
        case connectionLost(String)
        /// A server may refuse our certificate as late as this (RFC 8446 section 4.4.2.4).
        case tlsFailed(TLSFailure)
    }

    /// A response with another status than 101.
    struct Refusal {
        let head: HTTPHead
        /// The status in words.
        let reason: String
        /// When the rest of the body is waited for no longer.
        let deadline: Nanoseconds
        fileprivate var content: ResponseBody

        var body: String { content.text }
    }

    /// Bytes of a refusal's body that are kept, and nanoseconds that it gets to come.
    private static let maximumBodySize = 1 << 10
    private static let bodyTimeout = Nanoseconds(seconds: 1)

    let transport: Transport
    let address: Address
    private let handshake: ClientHandshake
    private var request = ByteBuffer()
    /// Why the rest of the request could not be written.
    private var writeFault: Transport.Fault?
    private var parser = HTTPHeadParser()
    /// The response, once its head is complete.
    private(set) var head: HTTPHead?
    /// Set while the body of a refusal is read.
    private(set) var refusal: Refusal?

    init(_ transport: Transport, _ address: Address, _ handshake: ClientHandshake) {
        self.transport = transport
        self.address = address
        self.handshake = handshake
        request.append(handshake.request)
    }

    /// Writes and reads until the socket would block.
    func advance(_ loop: inout LoopContext) -> Progress {
        defer { transport.setInterest(request.isEmpty ? .read : [.read, .write], loop.poller) }
        while !request.isEmpty {
            switch transport.write(UnsafeRawBufferPointer(request.bytes)) {
            case .bytes(let count): request.didRead(count)
            case .wouldBlock: return read(&loop)
            case .end: return .connectionLost("the connection was closed")
            case .failed(.tls(let failure)): return .tlsFailed(failure)
            case .failed(let fault):
                // A server may refuse before it has the whole request: its response is in the socket.
                writeFault = fault
                request.removeAll()
            }
        }
        return read(&loop)
    }

    private func read(_ loop: inout LoopContext) -> Progress {
        for _ in 0..<Transport.maxReadsPerTurn {
            let result = transport.read(into: loop.readBuffer)
            if case .bytes(let count) = result {
                let input = UnsafeRawBufferPointer(rebasing: loop.readBuffer[..<count])
                if let progress = receive(input, loop.now) { return progress }
                continue
            }
            if case .wouldBlock = result, writeFault == nil {
                transport.requestTurnIfPending(&loop)
                return .pending
            }
            return socketEnded(result)
        }
        transport.requestAnotherTurn(&loop)
        return .pending
    }

    /// Nothing more will come: the last read said so, or it would block although the request could not be written.
    private func socketEnded(_ result: Transport.Result) -> Progress {
        if let refusal { return .refused(refusal) }
        if let writeFault { return .connectionLost("the request could not be sent: \(writeFault.words)") }
        switch result {
        case .failed(.tls(let failure)): return .tlsFailed(failure)
        case .failed(let fault): return .connectionLost("the handshake was cut off: \(fault.words)")
        case .bytes, .wouldBlock, .end:
            return .connectionLost("the connection was closed before the handshake was answered")
        }
    }

    private func receive(_ input: UnsafeRawBufferPointer, _ now: Nanoseconds) -> Progress? {
        if refusal != nil { return receiveBody(input) }
        do throws(HandshakeFailure) {
            guard let (head, consumed) = try parser.parse(input) else { return nil }
            self.head = head
            return receiveHead(head, UnsafeRawBufferPointer(rebasing: input[consumed...]), now)
        } catch {
            return .invalidResponse(error)
        }
    }

    private func receiveHead(_ head: HTTPHead, _ rest: UnsafeRawBufferPointer, _ now: Nanoseconds) -> Progress? {
        do throws(HandshakeFailure) {
            return .completed(try handshake.verify(head), rest: Array(rest))
        } catch {
            guard error.status != nil else { return .invalidResponse(error) }
            if head.isRedirect { return .redirected(head, reason: error.reason) }
            refusal = Refusal(
                head: head, reason: error.reason, deadline: now + Self.bodyTimeout,
                content: ResponseBody(head, limit: Self.maximumBodySize))
            return receiveBody(rest)
        }
    }

    private func receiveBody(_ input: UnsafeRawBufferPointer) -> Progress? {
        refusal?.content.receive(input)
        guard let refusal, refusal.content.isComplete else { return nil }
        return .refused(refusal)
    }
}
