// A system resolver that does not answer until the test is over.

import Dispatch

@testable import WebSocketEngine

final class SilentDNS: Sendable {
    private let end = DispatchSemaphore(value: 0)

    var resolver: Resolver {
        Resolver { [end] _ in
            end.wait()
            end.signal()
            return .failed("late")
        }
    }

    /// One whose threads are all at work.
    func busyResolver() throws -> Resolver {
        var resolver = resolver
        let queue = try CommandQueue(try LoopOwnership())
        for number in 0..<Resolver.maximumThreads {
            _ = resolver.resolve(HostAndPort(host: "\(number).test", port: 1), 0, queue)
        }
        return resolver
    }

    /// Ends all its lookups.
    func answer() { end.signal() }
}
