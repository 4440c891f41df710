"""On SIGTERM tidies up and exits with 7."""

import signal
import sys
import time

signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("sleeping")
time.sleep(3600)
