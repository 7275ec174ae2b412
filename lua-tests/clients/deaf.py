"""deaf.py PORT: a client that sends 208 MiB in messages of 16 MiB before it reads anything; then it reads all, and prints
the code and the reason of the Close at the end."""

import socket
import struct
import sys

connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
connection.sendall(
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
size = 16 << 20
# A binary frame with a mask key of zeros.
frame = struct.pack(">BBQI", 0x82, 0xFF, size, 0) + bytes(size)
for _ in range(13):
    connection.sendall(frame)
end = b""
while data := connection.recv(1 << 20):
    end = (end + data)[-125:]
at = end.rindex(b"\x88")
print(*struct.unpack_from(">H", end, at + 2), end[at + 4 :].decode())
