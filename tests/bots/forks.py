"""Leaves processes behind: a child, a grandchild, and a daemon in a session of its own (double fork).

All ignore SIGTERM and write their process id to the file $PIDS, this one too. Then it exits with 0 where
$THEN is `exit`, and sleeps otherwise.
"""

import os
import signal
import time


def register():
    with open(os.environ["PIDS"], "a") as file:
        file.write(f"{os.getpid()}\n")


def stay():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    register()
    while True:
        time.sleep(3600)


def daemon():
    os.setsid()
    if os.fork() == 0:
        stay()
    os._exit(0)


def family():
    if os.fork() == 0:
        stay()
    stay()


register()
middle = os.fork()
if middle == 0:
    daemon()
os.waitpid(middle, 0)
if os.fork() == 0:
    family()
while len(open(os.environ["PIDS"]).readlines()) < 4:
    time.sleep(0.005)
print("forked")
if os.environ["THEN"] != "exit":
    time.sleep(3600)
