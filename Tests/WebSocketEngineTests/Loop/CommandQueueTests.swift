import CEvents
import CLinux
import Glibc
import Synchronization
import Testing

@testable import WebSocketEngine

@Suite struct CommandQueueTests {
    private let commandQueue: CommandQueue
    private let websocket = WebSocket(Options(), queue: EventQueue(), id: 7)

    init() throws { commandQueue = try CommandQueue(try LoopOwnership()) }

    private var isSignalled: Bool {
        var entry = pollfd(fd: commandQueue.wakeup.number, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, 0) == 1
    }

    private func drain() -> [Command] {
        var commands: [Command] = []
        commandQueue.drain(into: &commands)
        return commands
    }

    @Test func commandsComeInOrderAndOnce() {
        for bytes in 0..<3 { commandQueue.post(.refuse(websocket, bytes: bytes, connection: 0)) }
        #expect(commandQueue.hasCommands)
        let sizes = drain().map { if case .refuse(_, let bytes, _) = $0 { bytes } else { -1 } }
        #expect(sizes == [0, 1, 2])
        #expect(!commandQueue.hasCommands && drain().isEmpty)
    }

    /// A socket that has no room for a signal is readable already.
    @Test func aWakeUpMayBeSignalledAnyNumberOfTimes() {
        for _ in 0..<10_000 {
            #expect(commandQueue.prepareToWait())
            let isWoken = commandQueue.wake()
            #expect(isWoken)
            _ = drain()
        }
        #expect(isSignalled)
    }

    /// A wake-up is a system call, which a loop at work does not need.
    @Test func onlyAWaitingLoopIsWokenAndOnlyOnce() {
        commandQueue.post(.flush(websocket))
        #expect(!isSignalled)
        #expect(!commandQueue.prepareToWait())
        commandQueue.didWake(signalled: false)
        _ = drain()
        #expect(commandQueue.prepareToWait())
        for _ in 0..<3 { commandQueue.post(.flush(websocket)) }
        #expect(ws_clear_wakeup(commandQueue.wakeup.number) != 0 && ws_clear_wakeup(commandQueue.wakeup.number) == 0)
        commandQueue.didWake(signalled: false)
        commandQueue.post(.flush(websocket))
        #expect(!isSignalled)
    }

    @Test func wakeEndsTheNextWaitWithoutACommand() {
        commandQueue.wake()
        #expect(!commandQueue.prepareToWait() && !isSignalled)
        #expect(drain().isEmpty)
        #expect(commandQueue.prepareToWait())
        commandQueue.wake()
        #expect(isSignalled)
        commandQueue.didWake(signalled: true)
        #expect(!isSignalled)
    }

    @Test func aLoopThatCanNotBeWokenIsReported() throws {
        let number = commandQueue.wakeup.number
        try replaceDescriptor(number)
        defer { close(number) }
        // While it does not wait nothing is written.
        #expect(commandQueue.post(.flush(websocket)))
        _ = drain()
        #expect(commandQueue.prepareToWait())
        #expect(!commandQueue.post(.flush(websocket)))
    }

    /// The loop sleeps after each command. One that it slept through would be found only after the time limit.
    @Test func noCommandIsSleptThrough() throws {
        let count = 20_000
        let websocket = websocket
        let commandQueue = commandQueue
        try startThread {
            for number in 0..<count {
                commandQueue.post(.refuse(websocket, bytes: number, connection: 0))
                if number % 7 == 0 { sched_yield() }
            }
        }
        var received = 0
        while received < count {
            var isReadable = false
            if commandQueue.prepareToWait() {
                var entry = pollfd(fd: commandQueue.wakeup.number, events: Int16(POLLIN), revents: 0)
                isReadable = retrying { Int(poll(&entry, 1, 10_000)) } == 1
                try #require(isReadable, "after \(received) commands")
            }
            commandQueue.didWake(signalled: isReadable)
            received += drain().count
        }
        #expect(received == count)
    }
}
