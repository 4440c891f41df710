"""Writes 32 MiB to each of its outputs."""

import sys

for _ in range(512):
    sys.stdout.buffer.write(b"o" * 65536)
    sys.stderr.buffer.write(b"e" * 65536)
