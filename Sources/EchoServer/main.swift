// A WebSocket server on loopback that sends every message back: a peer for the demo and for trying things
// out. The same protocol core as the client, in the server's role.
//
//     EchoServer [port]        prints its URL; a port of 0, the default, is one that is free

import CLinux
import Glibc

let arguments = CommandLine.arguments.dropFirst()
guard arguments.count <= 1, let port = UInt16(arguments.first ?? "0") else {
    print("usage: EchoServer [port]")
    exit(2)
}
signal(SIGPIPE, SIG_IGN)
guard var server = Server(port: port) else {
    perror("EchoServer")
    exit(1)
}
print("ws://127.0.0.1:\(server.port)/")
fflush(nil)
while true { server.turn() }
