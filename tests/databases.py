"""Database servers that data sources read from, with users who need passwords: PostgreSQL and MariaDB over TCP.

One of each for a test process; a test makes what it needs in a database and users of its own.
"""

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.certificates import Authority, new_authority
from tests.services import (
    PostgresServer,
    ServiceMissing,
    Services,
    services_required,
    start_guarded,
    unprivileged_account,
)
from tests.support import free_port, wait_until

#: Where Debian puts servers.
SYSTEM_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"

#: Passwords that would do something else if they were put into a connection string as they are.
HOSTILE = (
    "x;Server=evil;Password=y",
    "x host=evil.invalid sslmode=disable",
    "p@ss/w:1?a=b&host=evil.invalid#f",
    "}",
    "{a}}b;c}",
    "it's \"quoted\" ''twice''",
    " blanks at both ends ",
    "100%41 %zz",
    "{{ASSET.B.Y}}",
    "secret://B/Y",
    "line\nbreak\ttab",
    "back\\slash\\",
    "ключ € 😀",
    "==;==",
)


@dataclass(slots=True)
class MariaDbServer:
    """One MariaDB in `directory`, reached through the Unix socket in it as `root`, and on a loopback port."""

    directory: Path
    owner: int
    port: int
    authority: Authority = field(default_factory=lambda: new_authority(address="127.0.0.1"))
    guard: "subprocess.Popen[bytes] | None" = None

    @property
    def socket(self) -> str:
        return str(self.directory / "socket")

    def connect(self) -> "pymysql.Connection[Any]":
        return pymysql.connect(unix_socket=self.socket, user="root", autocommit=True, charset="utf8mb4")

    def create(self) -> None:
        """Makes the data folder; once for each directory."""
        self.directory.mkdir(mode=0o755)
        account = unprivileged_account()
        self.authority.write(self.directory, "tls", owner=account)
        if account is not None:
            os.chown(self.directory, account.pw_uid, account.pw_gid)
        command = [
            found("mariadb-install-db"),
            "--no-defaults",
            f"--datadir={self.directory / 'data'}",
            "--skip-test-db",
        ]
        subprocess.run(
            [*command, "--auth-root-authentication-method=normal"],
            check=True,
            capture_output=True,
            cwd="/",
            user=None if account is None else account.pw_uid,
            group=None if account is None else account.pw_gid,
            extra_groups=None if account is None else [],
        )

    def start(self) -> None:
        """Starts the server and returns when it answers."""
        account = unprivileged_account()
        command = [
            found("mariadbd"),
            "--no-defaults",
            f"--datadir={self.directory / 'data'}",
            f"--socket={self.socket}",
        ]
        command += [f"--port={self.port}", "--bind-address=127.0.0.1", "--innodb-flush-log-at-trx-commit=0"]
        command += [f"--ssl-cert={self.directory / 'tls.pem'}", f"--ssl-key={self.directory / 'tls.key'}"]
        command += [f"--pid-file={self.directory / 'pid'}", "--skip-name-resolve", "--innodb-buffer-pool-size=32M"]
        log_path = self.directory.with_suffix(".log")
        user = "-" if account is None else account.pw_name
        self.guard = start_guarded(command, owner=self.owner, log_path=log_path, user=user)
        guard = self.guard
        wait_until(lambda: self.answers() or guard.poll() is not None, 40, f"MariaDB in {self.directory}")
        assert guard.poll() is None, f"MariaDB did not start:\n{log_path.read_text(errors='replace')}"

    def answers(self) -> bool:
        # The driver would leave its socket open where nobody listens yet.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(self.socket)
            self.connect().close()
            return True
        return False

    def stop(self) -> None:
        """Ends the server."""
        assert self.guard is not None, "only the process that started the server can stop it"
        self.guard.terminate()
        self.guard.wait(30)


def found(program: str) -> str:
    path = shutil.which(program, path=SYSTEM_PATH)
    if path is None:
        raise ServiceMissing(f"This machine has no {program}: run `make services`.")
    return path


@pytest.fixture(scope="session")
def secured_postgres(services: Services) -> Iterator[PostgresServer]:
    """A PostgreSQL whose users log in with passwords over TCP."""
    server = PostgresServer(services.root / f"secured-{os.getpid()}", os.getpid(), port=free_port())
    try:
        server.create()
    except ServiceMissing as missing:
        if services_required():
            raise
        pytest.skip(str(missing))
    rules = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
    (server.data / "pg_hba.conf").write_text(rules)
    server.start()
    services.keep(server.guard)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mariadb(services: Services) -> Iterator[MariaDbServer]:
    """A MariaDB whose users log in with passwords over TCP."""
    server = MariaDbServer(services.root / f"mariadb-{os.getpid()}", os.getpid(), port=free_port())
    try:
        server.create()
    except ServiceMissing as missing:
        if services_required():
            raise
        pytest.skip(str(missing))
    server.start()
    services.keep(server.guard)
    yield server
    server.stop()
