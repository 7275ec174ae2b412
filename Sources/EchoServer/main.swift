// A WebSocket server on 127.0.0.1 that echoes every message: the peer of scripts/demo and for first steps.
// It uses the client's protocol code in the role of a server.
//
//     EchoServer [port]        prints its URL; port 0, the default, chooses a free port

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
