import CLinux
import Glibc
import Testing

@testable import WebSocketEngine

@Suite struct LoopOwnershipTests {
    /// How long the engine's thread waits for a loop that a Lua thread has just given back: the shortest of five times.
    private func wait(streaming: Bool = false, hasWork: Bool = false, hurries: Bool = false) throws -> Nanoseconds {
        var shortest = Nanoseconds.max
        for _ in 0..<5 {
            let ownership = try LoopOwnership()
            #expect(ownership.acquireForScript())
            #expect(!ownership.acquireForScript())
            let start = now()
            ownership.release(at: start, streaming: streaming, hasWork: hasWork)
            if hurries { ownership.requestWork() }
            // Later than what is due: it must not take its place.
            _ = ownership.acquireForScript()
            ownership.release(at: start, streaming: streaming, hasWork: false)
            _ = ownership.waitUntilReclaimable()
            #expect(!ownership.belongsToScripts)
            shortest = min(shortest, now() - start)
        }
        return shortest
    }

    @Test func theEngineLooksTheSoonerTheMoreThereIsToDo() throws {
        let nothing = try wait()
        #expect(nothing >= Nanoseconds(seconds: 0.02))
        let mail = try wait(hurries: true)
        #expect(mail >= Nanoseconds(seconds: 0.001) && mail < nothing / 2)
        let hasWork = try wait(hasWork: true)
        #expect(hasWork >= Nanoseconds(seconds: 0.001) && hasWork < nothing / 2)
    }

    /// A script that waits in a loop of the host runs the loop for short times. Looking after it each millisecond would cost
    /// as much.
    @Test func aLoopThatIsUsedAgainAndAgainIsCheckedRarely() throws {
        var most = 0
        for _ in 0..<5 {
            let ownership = try LoopOwnership()
            let start = now()
            // For a small part of the time.
            @Sendable func use() {
                _ = ownership.acquireForScript()
                let end = now()
                ownership.release(at: end, streaming: false, hasWork: false)
                while now() < end + Nanoseconds(seconds: 0.0001) {}
            }
            use()
            try startThread { while now() < start + Nanoseconds(seconds: 0.06) { use() } }
            let before = Self.waits()
            _ = ownership.waitUntilReclaimable()
            most = max(most, Self.waits() - before)
        }
        // After 20, 60 and 140 ms; the lock of the timer may be waited for, too.
        #expect(most <= 8)
    }

    /// How often this thread has waited.
    private static func waits() -> Int {
        var usage = rusage()
        let thisThread: Int32 = 1  // RUSAGE_THREAD
        getrusage(thisThread, &usage)
        return usage.ru_nvcsw
    }

    @Test func withAStreamTheEngineGoesOnAtOnce() throws {
        let ownership = try LoopOwnership()
        #expect(ownership.acquireForScript())
        ownership.release(at: now(), streaming: true, hasWork: false)
        _ = ownership.waitUntilReclaimable()
        #expect(ownership.isStreaming && !ownership.acquireForScript())
    }

    @Test func whoeverSleepsBesideTheLoopHasTheEngineTakeIt() throws {
        var shortest = Nanoseconds.max
        for _ in 0..<5 {
            let ownership = try LoopOwnership()
            #expect(ownership.acquireForScript())
            let start = now()
            ownership.release(at: start, streaming: false, hasWork: false)
            ownership.whileWaiting { _ = ownership.waitUntilReclaimable() }
            shortest = min(shortest, now() - start)
        }
        #expect(shortest < Nanoseconds(seconds: 0.01))
    }
}
