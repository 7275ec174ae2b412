// The exchange of the opening handshake over a connected socket: the request out, the answer in.

import WebSocketProtocol

final class HandshakeExchange {
    enum Progress {
        case pending
        /// The connection is open; `rest` came behind the answer.
        case completed(ClientHandshake.Agreement, rest: [UInt8])
        /// To the place that its Location names.
        case redirected(HTTPHead)
        /// Another status than 101: `refusal`, `head` and `body` tell.
        case refused
        /// An answer that no WebSocket server gives.
        case invalidResponse(HandshakeFailure)
        /// The connection ended in the middle, in words.
        case connectionLost(String)
        /// TLS failed: a server may refuse our certificate as late as this (RFC 8446 section 4.4.2.4).
        case tlsFailed(TLSFailure)
    }

    /// Of a refused handshake's body so many bytes are kept, and waited for no longer than this.
    private static let maximumBodySize = 1 << 10
    private static let bodyTimeout = Nanoseconds(seconds: 1)

    let transport: Transport
    let address: Address
    private let handshake: ClientHandshake
    private var request = ByteBuffer()
    /// Why some of the request never left.
    private var unsent: Transport.Fault?
    private var parser = HTTPHeadParser()
    private(set) var head: HTTPHead?
    /// What a server that refused said.
    private(set) var refusal = ""
    private var responseBody: ResponseBody?
    private(set) var bodyDeadline: Nanoseconds?

    init(_ transport: Transport, _ address: Address, _ handshake: ClientHandshake) {
        self.transport = transport
        self.address = address
        self.handshake = handshake
        request.append(handshake.request)
    }

    var body: String { responseBody?.text ?? "" }

    /// Goes as far as the socket allows.
    func advance(_ loop: inout LoopContext) -> Progress {
        defer { transport.setInterest(request.isEmpty ? .read : [.read, .write], loop.poller) }
        while !request.isEmpty {
            switch transport.write(UnsafeRawBufferPointer(request.bytes)) {
            case .bytes(let count): request.didRead(count)
            case .wouldBlock: return read(&loop)
            case .end: return .connectionLost("the connection was closed")
            case .failed(.tls(let failure)): return .tlsFailed(failure)
            case .failed(let fault):
                // A server may refuse before it has the whole request: its answer is there to be read.
                unsent = fault
                request.removeAll()
            }
        }
        return read(&loop)
    }

    private func read(_ loop: inout LoopContext) -> Progress {
        for _ in 0..<Transport.maxReadsPerTurn {
            switch transport.read(into: loop.readBuffer) {
            case .wouldBlock where unsent == nil:
                transport.requestTurnIfPending(&loop)
                return .pending
            case .bytes(let count):
                let input = UnsafeRawBufferPointer(rebasing: loop.readBuffer[..<count])
                if let progress = receive(input, loop.now) { return progress }
            case .wouldBlock where head == nil, .end where head == nil && unsent != nil,
                .failed where head == nil && unsent != nil:
                return .connectionLost("the request could not be sent: \(unsent?.words ?? "")")
            case .end where head == nil:
                return .connectionLost("the connection was closed before the handshake was answered")
            case .failed(.tls(let failure)) where head == nil: return .tlsFailed(failure)
            case .failed(let fault) where head == nil:
                return .connectionLost("the handshake was cut off: \(fault.words)")
            case .wouldBlock, .end, .failed: return .refused
            }
        }
        transport.requestAnotherTurn(&loop)
        return .pending
    }

    private func receive(_ input: UnsafeRawBufferPointer, _ now: Nanoseconds) -> Progress? {
        if head != nil { return receiveBody(input) }
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
            refusal = error.reason
            if head.isRedirect { return .redirected(head) }
            bodyDeadline = now + Self.bodyTimeout
            responseBody = ResponseBody(head, limit: Self.maximumBodySize)
            return receiveBody(rest)
        }
    }

    /// The body of a refusal, as far as it helps a person.
    private func receiveBody(_ input: UnsafeRawBufferPointer) -> Progress? {
        responseBody?.receive(input)
        return responseBody?.isComplete == false ? nil : .refused
    }
}
