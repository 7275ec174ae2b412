// Options in one place of memory for all connections of a server: 10 000 of them would have 5 MB of copies. Made on Lua's thread by
// Server and WebSocket, read on both threads.

final class SharedOptions: Sendable {
    let value: Options

    init(_ value: Options) { self.value = value }
}
