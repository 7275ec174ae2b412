"""openssl s_server, which can renegotiate and update keys on command: openssl.py PORT COMMAND, with CERTIFICATES in the
environment. COMMAND is r (renegotiate, TLS 1.2) or K (a KeyUpdate that asks for the client's, TLS 1.3). Serves one
WebSocket: sends a text, and after the client's answer the command and another text. Prints its port; then the first
handshake message or alert with which the client reacts; then "heard" once the client has answered the second text."""

import base64
import contextlib
import hashlib
import os
import re
import signal
import subprocess
import sys

folder, command = os.environ["CERTIFICATES"], sys.argv[2]
server = subprocess.Popen(
    ["openssl", "s_server", "-accept", f"127.0.0.1:{sys.argv[1]}", "-naccept", "1", "-msg",
     "-tls1_2" if command == "r" else "-tls1_3", "-cert", f"{folder}/good.pem", "-key", f"{folder}/good.key"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(server.kill()))
# Ends the server after 300 s, in case the test has died without ending it.
signal.alarm(300)
output = b""


def expect(pattern):
    """Waits for a pattern in s_server's output: notes, received bytes, and each record's name and bytes in hex."""
    global output
    while not (match := re.search(pattern, output, re.DOTALL)):
        data = server.stdout.read(1 << 16)
        if not data:
            sys.exit(f"the server has ended: {output!r}")
        output += data
    output = output[match.end():]
    return match


print(int(expect(rb"ACCEPT [\d.]+:(\d+)\n")[1]), flush=True)
key = expect(rb"Sec-WebSocket-Key: (\S+)\r\n.*?\r\n\r\n")[1]
accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
server.stdin.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n\x81\x06before")
text = rb"\x81\x82.{6}"  # a masked text frame of two bytes
expect(text)
server.stdin.write(command.encode() + b"\n")
expect(rb">>> [^\n]*(HelloRequest|KeyUpdate)\n")
# s_server ends when the client refuses, perhaps before this write.
with contextlib.suppress(BrokenPipeError):
    server.stdin.write(b"\x81\x05after")
print(expect(rb"<<< [^\n]*(?:Handshake|Alert)[^\n]*, (\w+[^\n]*)\n")[1].decode(), flush=True)
expect(text)
print("heard", flush=True)
server.wait()
