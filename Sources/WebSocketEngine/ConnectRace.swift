// Connects to the first of several addresses that answers (RFC 8305 section 5): one attempt after another,
// a quarter of a second apart or as soon as one fails; the first wins and the losers are closed.

import CLinux
import Glibc

final class ConnectRace {
    enum Progress {
        case pending
        case connected(Transport, Address)
        /// Which address failed how, in words.
        case failed(String)
    }

    private struct Contender {
        let transport: Transport
        let address: Address
    }

    /// RFC 8305 section 8: the recommended Connection Attempt Delay.
    private static let delay = Nanoseconds(seconds: 0.25)

    private let slot: Int
    private var waiting: ArraySlice<Address>
    private var contenders: [Contender] = []
    private var failures: [String] = []
    /// When the next address is tried even though none has failed.
    private(set) var nextStart: Nanoseconds?

    init(_ addresses: [Address], slot: Int) {
        waiting = addresses[...]
        self.slot = slot
    }

    /// Starts the attempts that are due.
    func advance(_ reactor: inout Reactor) -> Progress {
        while let address = waiting.first {
            guard contenders.isEmpty || reactor.now >= nextStart ?? 0 else { return .pending }
            waiting.removeFirst()
            do throws(SystemError) {
                let transport = try Transport(connecting: address, slot: slot, &reactor.poller)
                contenders.append(Contender(transport: transport, address: address))
            } catch {
                failures.append("\(address.description): \(SystemError.words(error.number))")
            }
            nextStart = waiting.isEmpty ? nil : reactor.now + Self.delay
        }
        guard contenders.isEmpty else { return .pending }
        return .failed(failures.isEmpty ? "the name has no address" : summary)
    }

    /// Which address failed how, and which have not answered, in words.
    var summary: String {
        let silent = contenders.map { "\($0.address.description): no answer" }
        let untried = waiting.map { "\($0.description): not tried" }
        return (failures + silent + untried).joined(separator: "; ")
    }

    func ready(_ token: Poller.Token, _ reactor: inout Reactor) -> Progress {
        guard let index = contenders.firstIndex(where: { $0.transport.token == token }) else { return .pending }
        let contender = contenders[index]
        switch contender.transport.connected() {
        case .pending: return .pending
        case .connected:
            contenders.removeAll()
            return .connected(contender.transport, contender.address)
        case .failed(let number):
            contenders.remove(at: index)
            failures.append("\(contender.address.description): \(SystemError.words(number))")
            // Nothing is left to start: a time in the past would be due for ever.
            nextStart = waiting.isEmpty ? nil : reactor.now
            return advance(&reactor)
        }
    }
}
