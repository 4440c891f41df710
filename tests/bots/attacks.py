"""Tries to reach the process $VICTIM and the paths $PATHS in every way, itself or by a grandchild; prints what came.

One JSON object: attack to `refused`, `nothing` or what was got. Attacks on the victim are repeated until it is 0.3 s
older, since a process is weakest while it starts.
"""

import ctypes
import errno
import json
import os
import signal
import socket
import time

#: EXDEV is what Landlock says to a link or a move that would make more reachable.
REFUSED = {errno.EACCES, errno.EPERM, errno.EXDEV}
libc = ctypes.CDLL(None, use_errno=True)
PTRACE_ATTACH, PTRACE_SEIZE, PTRACE_DETACH = 16, 0x4206, 17


def attempt(attack):
    """What an attack got; `refused` where the system said no."""
    try:
        return attack() or "nothing"
    except OSError as error:
        return "refused" if error.errno in REFUSED else errno.errorcode.get(error.errno, "?")


def read(path):
    with open(path, "rb", buffering=0) as file:
        return f"read {file.read(64)!r}"


def memory(victim):
    with open(f"/proc/{victim}/maps", "rb") as maps:
        return f"read {maps.read(64)!r}"


def mem(victim):
    os.close(os.open(f"/proc/{victim}/mem", os.O_RDWR))
    return "opened"


def vm(victim):
    class Span(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    buffer = ctypes.create_string_buffer(16)
    ours, theirs = Span(ctypes.addressof(buffer), 16), Span(0x400000, 16)
    if libc.process_vm_readv(victim, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0) < 0:
        raise OSError(ctypes.get_errno(), "")
    return "read"


def trace(victim, how):
    if libc.ptrace(how, victim, None, None) < 0:
        raise OSError(ctypes.get_errno(), "")
    libc.ptrace(PTRACE_DETACH, victim, None, None)
    return "traced"


def files(victim):
    found = os.listdir(f"/proc/{victim}/fd")
    for name in found:
        os.readlink(f"/proc/{victim}/fd/{name}")
        os.close(os.open(f"/proc/{victim}/fd/{name}", os.O_RDONLY | os.O_NONBLOCK))
    return f"opened {found}"


def root(victim):
    return f"listed {os.listdir(f'/proc/{victim}/root/')[:3]}"


def send(victim, number):
    os.kill(victim, number)
    return "sent"


def steal(victim):
    file = os.pidfd_open(victim)
    try:
        if (got := libc.syscall(438, file, 0, 0)) < 0:  # pidfd_getfd(2)
            raise OSError(ctypes.get_errno(), "")
        return f"got {got}"
    finally:
        os.close(file)


def limit(victim):
    import resource

    resource.prlimit(victim, resource.RLIMIT_NOFILE, (1, 1))
    return "limited"


def meet(name):
    with socket.socket(socket.AF_UNIX) as one:
        one.connect("\0" + name)
    return "connected"


def on_process(victim):
    return {
        "environ": lambda: read(f"/proc/{victim}/environ"),
        "maps": lambda: memory(victim),
        "mem": lambda: mem(victim),
        "process_vm_readv": lambda: vm(victim),
        "attach": lambda: trace(victim, PTRACE_ATTACH),
        "seize": lambda: trace(victim, PTRACE_SEIZE),
        "descriptors": lambda: files(victim),
        "pidfd_getfd": lambda: steal(victim),
        "root": lambda: root(victim),
        "prlimit": lambda: limit(victim),
        "SIGSTOP": lambda: send(victim, signal.SIGSTOP),
        "SIGTERM": lambda: send(victim, signal.SIGTERM),
        "SIGKILL": lambda: send(victim, signal.SIGKILL),
    }


def on_path(path):
    mine = os.environ["TMPDIR"] if "TMPDIR" in os.environ else os.getcwd()
    link, hard = f"{mine}/link-{os.getpid()}", f"{mine}/hard-{os.getpid()}"

    def by_link():
        os.symlink(path, link)
        try:
            return read(link) if not os.path.isdir(link) else f"listed {os.listdir(link)}"
        finally:
            os.unlink(link)

    def by_hard_link():
        os.link(path, hard)
        return read(hard)

    def rename():
        os.rename(path, f"{path}-moved")
        return "moved"

    def truncate():
        os.truncate(path, 0)
        return "truncated"

    def beside():
        made = f"{path}-{os.getpid()}" if not os.path.isdir(path) else f"{path}/{os.getpid()}"
        open(made, "x").close()
        return f"made {made}"

    on_folder = {"list": lambda: f"listed {os.listdir(path)}"}
    on_file = {
        "read": lambda: read(path),
        "append": lambda: open(path, "ab").close() or "opened",
        "hard link": by_hard_link,
        "truncate": truncate,
    }
    common = {"symbolic link": by_link, "rename": rename, "make beside": beside}
    return {**common, **(on_folder if os.path.isdir(path) else on_file)}


def strongest(results):
    """Of repeated attacks what got furthest."""
    return next((one for one in results if one not in ("refused", "ESRCH", "ENOENT")), "refused")


def main():
    found = {}
    victim = int(os.environ.get("VICTIM", "0"))
    if victim:
        attacks = on_process(victim)
        until = time.monotonic() + float(os.environ.get("LAST", "0"))
        tried = {name: [] for name in attacks}
        while True:
            for name, attack in attacks.items():
                tried[name].append(attempt(attack))
            if time.monotonic() >= until:
                break
        found = {name: strongest(results) for name, results in tried.items()}
    for path in json.loads(os.environ.get("TARGETS", "[]")):
        for name, attack in on_path(path).items():
            found[f"{name} {path}"] = attempt(attack)
    for name in json.loads(os.environ.get("ABSTRACT", "[]")):
        found[f"meet {name}"] = attempt(lambda name=name: meet(name))
    print(json.dumps(found), flush=True)


if os.environ.get("GRANDCHILD"):
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
            main()
        else:
            os.wait()
        os._exit(0)
    os.wait()
else:
    main()
