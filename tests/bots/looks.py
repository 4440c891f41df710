"""Prints, as JSON, what there is around it: processes, folders, shared memory, network."""

import json
import multiprocessing
import os
import socket

addresses = [name for _, name in socket.if_nameindex()]
lock = multiprocessing.Lock()
master, _ = os.openpty()
os.close(master)
print(
    json.dumps(
        {
            "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
            "tmp": os.listdir("/tmp"),
            "shared": os.listdir("/dev/shm"),
            "home": os.path.exists("/home") or os.path.exists("/root"),
            "writable": os.access("/usr", os.W_OK) or os.access("/etc", os.W_OK),
            "interfaces": addresses,
            "locks": lock.acquire(),
        }
    ),
    flush=True,
)
