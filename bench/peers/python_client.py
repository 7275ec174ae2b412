"""Shared by the clients in Python: their arguments, the check of received messages, the line they print.

As client.h says: CLIENT MODE KIND URL COUNT SIZE PAYLOADS.
"""

import json
import os
import resource
import ssl
import sys
import time

TICKING = 1000
OPENING_AT_ONCE = 256
PAGE = os.sysconf("SC_PAGESIZE")


class Job:
    def __init__(self):
        self.mode, self.kind, self.url, count, size, self.file = sys.argv[1:]
        self.count, self.size = int(count), int(size)
        self.binary, self.deflates = self.kind == "binary", self.kind == "json"
        self.secure = self.url.startswith("wss:")

    def payloads(self, decode):
        with open(self.file, "rb") as file:
            data = file.read()
        pieces = [data[at : at + self.size] for at in range(0, len(data), self.size)]
        return [piece.decode() for piece in pieces] if decode else pieces

    def tls(self):
        if not self.secure:
            return None
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE


def processor_time():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Stopwatch:
    def __init__(self):
        self.cpu, self.start = processor_time(), time.perf_counter()

    def read(self):
        seconds = time.perf_counter() - self.start
        return {"seconds": seconds, "cpu": processor_time() - self.cpu}


def report(**fields):
    print(json.dumps({**fields, "rss": resident_bytes()}), flush=True)
    os._exit(0)  # without closing handshakes


def report_roundtrips(times, measured, ok):
    times.sort()
    count = len(times)
    report(messages=count, p50=times[count // 2], p99=times[count * 99 // 100], ok=ok, **measured)


class Tally:
    """Counts the messages and checks their order: the numbers in them grow."""

    def __init__(self, job):
        self.job = job
        self.count = 0
        self.ordered = True
        self.whole = None
        self.last = b"" if job.binary else ""
        self.measured = None
        self.stopwatch = Stopwatch()

    def take(self, data):
        """Called for each message; True at the end."""
        if self.count == self.job.count:
            done = b"done" if self.job.binary else "done"
            self.whole = data == done + self.last
            return True
        self.count += 1
        if data <= self.last:
            self.ordered = False
        self.last = data
        if self.count == self.job.count:
            self.measured = self.stopwatch.read()
        return False

    def ok(self):
        return bool(self.whole and self.ordered)

    def report(self):
        report(messages=self.count, bytes=self.count * self.job.size, ok=self.ok(), **self.measured)
