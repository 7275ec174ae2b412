"""rows.py: reads a PNG in base64 from standard input; prints how many different rows its picture has."""

import base64
import struct
import sys
import zlib

data = base64.b64decode(sys.stdin.read())
assert data[:8] == b"\x89PNG\r\n\x1a\n"
at, pixels = 8, b""
while at < len(data):
    length, kind = struct.unpack_from(">I4s", data, at)
    body = data[at + 8 : at + 8 + length]
    if kind == b"IHDR":
        width, height, depth, color = struct.unpack_from(">IIBB", body)
    if kind == b"IDAT":
        pixels += body
    at += 12 + length
channels = {2: 3, 6: 4}[color]
assert depth == 8
stride = width * channels
pixels = zlib.decompress(pixels)

rows, above = set(), bytes(stride)
for y in range(height):
    kind, *row = pixels[y * (stride + 1) : (y + 1) * (stride + 1)]
    for x in range(stride):
        left = row[x - channels] if x >= channels else 0
        up, corner = above[x], above[x - channels] if x >= channels else 0
        if kind == 1:
            row[x] = (row[x] + left) & 255
        elif kind == 2:
            row[x] = (row[x] + up) & 255
        elif kind == 3:
            row[x] = (row[x] + (left + up) // 2) & 255
        elif kind == 4:
            # Paeth: the neighbour nearest to left + up - corner.
            guess = left + up - corner
            nearest = min((left, up, corner), key=lambda value: abs(guess - value))
            row[x] = (row[x] + nearest) & 255
    above = bytes(row)
    rows.add(above)
print(len(rows))
