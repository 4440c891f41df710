"""Leaves a daemon, then kills its parent, and the parent's parent where $BOTH is set."""

import os
import signal
import time


def parent_of(pid):
    return int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])


def register():
    with open(os.environ["PIDS"], "a") as file:
        file.write(f"{os.getpid()}\n")


register()
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()
    register()
    os.close(writing)
    while True:
        time.sleep(3600)
victims = [os.getppid()]
if os.environ.get("BOTH"):
    victims.insert(0, parent_of(victims[0]))
while len(open(os.environ["PIDS"]).readlines()) < 2:
    time.sleep(0.005)
print("killing", flush=True)
for victim in victims:
    os.kill(victim, signal.SIGKILL)
time.sleep(3600)
