"""A client that sends bytes as they are: asker.py PORT|PATH REQUEST ANSWER. Sends each line of the file REQUEST, which is in
hexadecimal, in a write of its own; the line "-" ends the sending side. Writes all bytes of the server to the file ANSWER
once the server has closed the connection."""

import socket
import sys

place = sys.argv[1]
with open(sys.argv[2], encoding="ascii") as file:
    parts = file.read().split()
if place.startswith("/"):
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(place)
else:
    peer = socket.create_connection(("127.0.0.1", int(place)))
peer.settimeout(20)
received = b""
try:
    for part in parts:
        if part == "-":
            peer.shutdown(socket.SHUT_WR)
        else:
            peer.sendall(bytes.fromhex(part))
    while data := peer.recv(65536):
        received += data
except ConnectionError as error:
    received += b"!" + type(error).__name__.encode()
with open(sys.argv[3], "wb") as file:
    file.write(received)
