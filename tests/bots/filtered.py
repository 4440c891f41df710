"""Prints, as JSON, its launcher, how many filters of system calls it is under, and what one of them says."""

import json
import os
from pathlib import Path

status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
try:
    os.setpriority(os.PRIO_PROCESS, os.getppid(), 5)
    refused = 0
except OSError as error:
    refused = error.errno
print(json.dumps({"parent": os.getppid(), "filters": int(status["Seccomp_filters"]), "refused": refused}))
