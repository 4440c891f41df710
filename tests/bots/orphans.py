"""Lets fifty orphans die, says so, and sleeps."""

import os
import time

for _ in range(50):
    middle = os.fork()
    if middle == 0:
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.waitpid(middle, 0)
print("orphaned")
time.sleep(3600)
