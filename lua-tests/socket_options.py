"""Socket options of another process's TCP connection: socket_options.py PID PORT [NAME=NUMBER…] sets those given and
prints all. Exit code 77 if pidfd_getfd is not permitted."""

import ctypes
import os
import socket
import sys

SYS_pidfd_getfd = 438

pid, port = int(sys.argv[1]), int(sys.argv[2])
options = {
    "SO_KEEPALIVE": (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    **{name: (socket.IPPROTO_TCP, getattr(socket, name)) for name in (
        "TCP_NODELAY", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")},
}

process = os.pidfd_open(pid)
for name in os.listdir(f"/proc/{pid}/fd"):
    if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
        continue
    number = ctypes.CDLL(None, use_errno=True).syscall(SYS_pidfd_getfd, process, int(name), 0)
    if number < 0:
        print(os.strerror(ctypes.get_errno()))
        sys.exit(77)
    with socket.socket(fileno=number) as copy:
        if copy.family == socket.AF_INET and copy.getpeername()[1] == port:
            for argument in sys.argv[3:]:
                option, _, value = argument.partition("=")
                copy.setsockopt(*options[option], int(value))
            for option, (level, key) in options.items():
                print(f"{option}={copy.getsockopt(level, key)}")
            sys.exit()
sys.exit(f"no connection to port {port}")
