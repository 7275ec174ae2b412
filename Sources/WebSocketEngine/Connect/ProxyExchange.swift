// The exchange with a proxy (HTTP CONNECT or SOCKS) over a connected socket, until the proxy has connected to the
// server. ConnectAttempt owns it and calls it on the thread that runs the loop.

import WebSocketProtocol

final class ProxyExchange {
    enum Progress {
        case pending
        case established
        case refused(TunnelFailure)
        /// The connection to the proxy ended before it did, in words.
        case connectionLost(String)
    }

    let transport: Transport
    let address: Address
    private var tunnel: Tunnel

    init(_ transport: Transport, _ address: Address, _ tunnel: consuming Tunnel) {
        self.transport = transport
        self.address = address
        self.tunnel = tunnel
    }

    /// Writes and reads until the socket would block.
    func advance(_ loop: inout LoopContext) -> Progress {
        defer { transport.setInterest(tunnel.output.isEmpty ? .read : [.read, .write], loop.poller) }
        for _ in 0..<Transport.maxReadsPerTurn {
            while !tunnel.output.isEmpty {
                switch transport.write(UnsafeRawBufferPointer(tunnel.output.bytes)) {
                case .bytes(let count): tunnel.output.didRead(count)
                case .wouldBlock: return .pending
                case .end: return .connectionLost("it closed the connection")
                case .failed(let fault): return .connectionLost("the connection broke: \(fault.words)")
                }
            }
            switch transport.read(into: loop.readBuffer) {
            case .wouldBlock: return .pending
            case .end: return .connectionLost("it closed the connection")
            case .failed(let fault): return .connectionLost("the connection broke: \(fault.words)")
            case .bytes(let count):
                let input = UnsafeRawBufferPointer(rebasing: loop.readBuffer[..<count])
                do throws(TunnelFailure) {
                    if try tunnel.receive(input) { return .established }
                } catch {
                    return .refused(error)
                }
            }
        }
        transport.requestAnotherTurn(&loop)
        return .pending
    }
}
