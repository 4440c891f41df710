"""Gets what the tests need of Debian's where the machine has none: PostgreSQL, MariaDB, Redis, Dovecot, ODBC, faketime,
Chromium; `make services` runs it.

Promises to install nothing that is there already, and to start no service: the tests start servers of their
own. It uses apt-get, as root or by a sudo that asks for no password; elsewhere it says what to do and fails.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.databases import SYSTEM_PATH
from tests.services import ServiceMissing, postgres_binary


def missing_packages() -> list[str]:
    """The Debian packages that this machine lacks."""
    packages = []
    try:
        postgres_binary("initdb")
    except ServiceMissing:
        packages.append("postgresql")
    if not (shutil.which("redis-server") or shutil.which("valkey-server")):
        packages.append("redis-server")
    if not shutil.which("faketime"):
        packages.append("faketime")
    if not (shutil.which("mariadbd", path=SYSTEM_PATH) and shutil.which("my_print_defaults")):
        packages += ["mariadb-server-core", "mariadb-client-core"]
    if not Path("/etc/odbcinst.ini").is_file() or "PostgreSQL" not in Path("/etc/odbcinst.ini").read_text():
        packages += ["libodbc2", "odbc-postgresql"]
    if not shutil.which("bwrap"):
        packages.append("bubblewrap")
    if not shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        packages.append("dovecot-imapd")
    if not shutil.which("chromium"):
        packages.append("chromium")
    return packages


def privilege() -> list[str] | None:
    """What to put before a command that root must run; None where there is no way."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0:
        return [sudo, "-n"]
    return None


def main() -> int:
    packages = missing_packages()
    if not packages:
        return 0
    before = privilege()
    if before is None or not shutil.which("apt-get"):
        print(
            f"The tests need {' and '.join(packages)}: install them as root (Debian: apt-get install "
            f"{' '.join(packages)}), then run this again. .venv/bin/pytest runs the tests that need none.",
            file=sys.stderr,
        )
        return 1
    # RUNLEVEL=1 keeps Debian's packages from starting their services (invoke-rc.d(8)).
    apt = [*before, "env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get", "-q"]
    apt += ["-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"]
    print(f"Installing {' and '.join(packages)} for the tests.", flush=True)
    subprocess.run([*apt, "update"], check=True, stdout=subprocess.DEVNULL)
    install = [*apt, "install", "-y", "--no-install-recommends", *packages]
    subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
