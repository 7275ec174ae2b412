"""A client that leaves: leaver.py PORT BYTES close|end|reset now|later. Sends the bytes, which are in hexadecimal, then closes
the socket, ends its sending side or resets the connection: at once, or when it gets SIGUSR1. It lives until it is killed."""

import signal
import socket
import struct
import sys

port, data, how, when = sys.argv[1:]
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
peer = socket.create_connection(("127.0.0.1", int(port)))
peer.sendall(bytes.fromhex(data))
if when == "later":
    signal.sigwait([signal.SIGUSR1])
if how == "end":
    peer.shutdown(socket.SHUT_WR)
else:
    if how == "reset":
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
signal.pause()
