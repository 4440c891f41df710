"""Takes an item and dies with it."""

import os
import signal

from robocorp import workitems

item = workitems.inputs.current
print("holds", item.payload, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
