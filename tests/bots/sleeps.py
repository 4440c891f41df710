"""Says that it is there and sleeps for an hour."""

import time

print("sleeping")
time.sleep(3600)
