// Connects to the first of several addresses that answers (RFC 8305 section 5): the attempts start a quarter of a
// second apart, or as soon as one fails. The first socket that connects wins, the others are closed. ConnectAttempt
// owns a race and calls it on the thread that runs the loop.

import CLinux
import Glibc

final class ConnectRace {
    enum Progress {
        case pending
        case connected(Transport, Address)
        /// Which address failed in which way, in words.
        case failed(String)
        /// No socket can be bound to the local address.
        case bindFailed(SystemError)
    }

    private struct Attempt {
        let transport: Transport
        let address: Address
    }

    /// Nanoseconds between two attempts: the recommended Connection Attempt Delay (RFC 8305 section 8).
    private static let attemptDelay = Nanoseconds(seconds: 0.25)

    private let slot: Int
    /// The address to bind to; nil: the system chooses.
    private let local: Address?
    private var untried: ArraySlice<Address>
    private var attempts: [Attempt] = []
    /// `address: reason`
    private var failures: [String] = []
    /// When the next address is tried even if no attempt has failed; nil when no address is left.
    private(set) var nextStart: Nanoseconds?

    init(_ addresses: [Address], from local: Address? = nil, slot: Int) {
        untried = addresses[...]
        self.local = local
        self.slot = slot
    }

    func startDueAttempts(_ loop: inout LoopContext) -> Progress {
        while let address = untried.first {
            guard attempts.isEmpty || loop.now >= nextStart ?? 0 else { return .pending }
            untried.removeFirst()
            do throws(SystemError) {
                let transport = try Transport(connecting: address, from: local, slot: slot, &loop.poller)
                attempts.append(Attempt(transport: transport, address: address))
            } catch {
                // It would be the same with each address.
                guard error.call != Transport.bindCall else { return .bindFailed(error) }
                failures.append("\(address.description): \(SystemError.message(error.number))")
            }
            nextStart = untried.isEmpty ? nil : loop.now + Self.attemptDelay
        }
        guard attempts.isEmpty else { return .pending }
        return .failed(failures.isEmpty ? "the name has no address" : summary)
    }

    /// Which address failed in which way, which has not answered and which was not tried, in words.
    var summary: String {
        let silent = attempts.map { "\($0.address.description): no answer" }
        let notTried = untried.map { "\($0.description): not tried" }
        return (failures + silent + notTried).joined(separator: "; ")
    }

    /// The socket of this token is connected, or has failed.
    func ready(_ token: Poller.Token, _ loop: inout LoopContext) -> Progress {
        guard let index = attempts.firstIndex(where: { $0.transport.token == token }) else { return .pending }
        let attempt = attempts[index]
        switch attempt.transport.connectStatus() {
        case .pending: return .pending
        case .connected:
            attempts.removeAll()
            return .connected(attempt.transport, attempt.address)
        case .failed(let number):
            attempts.remove(at: index)
            failures.append("\(attempt.address.description): \(SystemError.message(number))")
            nextStart = untried.isEmpty ? nil : loop.now
            return startDueAttempts(&loop)
        }
    }
}
