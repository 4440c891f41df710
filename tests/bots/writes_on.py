"""Writes until nobody reads it, and fails then."""

import time

while True:
    print("on", flush=True)
    time.sleep(0.005)
