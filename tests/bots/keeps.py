"""A victim: holds a value in its environment, in a file in memory and in its memory, says its process id, and stays."""

import os
import socket
import time

held = os.memfd_create("value")
os.write(held, os.environ["VALUE"].encode())
meeting = socket.socket(socket.AF_UNIX)
meeting.bind("\0" + os.environ["ABSTRACT"])
meeting.listen()
with open(os.path.join(os.environ["OWN"], "kept"), "w") as file:
    file.write(os.environ["VALUE"])
print(os.getpid(), flush=True)
time.sleep(3600)
