import Dispatch
import CLinux
import Glibc
import Testing

@testable import WebSocketEngine

@Suite struct LoopThreadTests {
    private final class Seen: Sendable {
        let status = WebSocketEngine.Mutex("")
        let isDone = DispatchSemaphore(value: 0)
    }

    private static func readThreadStatus() -> String {
        var text = [UInt8](repeating: 0, count: 4096)
        let file = open("/proc/thread-self/status", O_RDONLY)
        let count = read(file, &text, text.count)
        close(file)
        return String(decoding: text.prefix(max(count, 0)), as: UTF8.self)
    }

    @Test func hasANameAndAllSignalsBlocked() throws {
        let seen = Seen()
        let mask = Self.readThreadStatus().split(separator: "\n").first { $0.hasPrefix("SigBlk") }
        try LoopThread.start {
            seen.status.withLock { $0 = Self.readThreadStatus() }
            seen.isDone.signal()
        }
        try #require(seen.isDone.wait(timeout: .now() + 10) == .success)
        let status = seen.status.withLock { $0 }
        #expect(status.hasPrefix("Name:\twebsocket\n"))
        // All but SIGKILL, SIGSTOP and two of the C library's.
        #expect(status.contains("SigBlk:\tfffffffe7ffbfeff\n"), "\(status)")
        // The caller's are as before.
        #expect(Self.readThreadStatus().split(separator: "\n").first { $0.hasPrefix("SigBlk") } == mask)
    }

    @Test func severalRunAtTheSameTime() throws {
        let seen = Seen()
        let areAllThere = DispatchSemaphore(value: 0)
        for _ in 0..<3 {
            try LoopThread.start {
                areAllThere.signal()
                seen.isDone.wait()
            }
        }
        for _ in 0..<3 { #expect(areAllThere.wait(timeout: .now() + 10) == .success) }
        for _ in 0..<3 { seen.isDone.signal() }
    }
}
