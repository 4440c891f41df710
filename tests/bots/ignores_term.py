"""Ignores SIGTERM, SIGINT and SIGHUP, and sleeps."""

import signal
import time

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
print("sleeping")
while True:
    time.sleep(3600)
