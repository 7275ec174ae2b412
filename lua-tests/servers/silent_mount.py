# silent_mount.py FOLDER: mounts a file system there that never answers, as a network file system whose server is gone.
# Prints "mounted" or why not; after 15 s, or with the process, each call that waits for it fails.
import ctypes
import os
import sys
import time

device = os.open("/dev/fuse", os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
failed = libc.mount(b"silent", sys.argv[1].encode(), b"fuse", 0, options.encode())
print(os.strerror(ctypes.get_errno()) if failed else "mounted", flush=True)
time.sleep(15)
