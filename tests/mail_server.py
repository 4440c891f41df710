"""A real IMAP server for the tests: Dovecot, unprivileged, in a folder of its own, with a CA of its own.

Promises implicit TLS and STARTTLS on loopback ports, users with any password, XOAUTH2 with tokens that Dovecot
validates by their signature (HS256), and nothing left behind. The certificate names `localhost` and nothing else.
It is no mock: where there is no Dovecot the tests skip on a laptop and fail where `services_required()`.
"""

import base64
import contextlib
import grp
import hashlib
import hmac
import imaplib
import json
import os
import pwd
import shutil
import signal
import ssl
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.certificates import Authority, new_authority
from tests.services import ServiceMissing, Services, services_required, start_guarded
from tests.support import free_port, wait_until

#: The password of the fixture `user`.
PASSWORD = "Not a real password; 'x' \\ {{ASSET.B.Y}} \u00fc"

#: What signs the tokens that the server takes for XOAUTH2.
_TOKEN_KEY = os.urandom(32)

_CONFIG = """
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/dovecot.log
info_log_path = {root}/dovecot.log
auth_verbose = yes
protocols = imap
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 1
ssl = yes
ssl_cert = <{root}/server.pem
ssl_key = <{root}/server.key
ssl_dh =
disable_plaintext_auth = yes
auth_mechanisms = plain login xoauth2
auth_username_chars =
auth_username_format = %u
auth_failure_delay = 0
mail_location = maildir:~/Maildir
mail_max_userip_connections = 100
service imap-login {{
  chroot =
  inet_listener imap {{
    address = 127.0.0.1
    port = {starttls_port}
  }}
  inet_listener imaps {{
    address = 127.0.0.1
    port = {port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
service imap {{
  process_limit = 200
}}
passdb {{
  driver = oauth2
  mechanisms = xoauth2
  args = {root}/oauth2.conf
}}
passdb {{
  driver = checkpassword
  mechanisms = plain login
  args = {root}/check
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={root}/mail/%{{sha256:user}} allow_all_users=yes
}}
"""

#: Says whether a user has a password (cr.yp.to/checkpwd/interface.html), as bytes: Dovecot's own files escape some.
_CHECK = """#!/bin/sh
given=$(cat <&3 | od -An -v -tx1 | tr -d ' \\n')
grep -qxF -- "$given" {root}/users || exit 1
USER=$AUTH_USER exec "$@"
"""

_OAUTH2 = """
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={root}/keys/
username_attribute = sub
"""


def token(user: str, *, lifetime: int = 3600) -> str:
    """An OAuth 2.0 access token (JWT, HS256) for a user, which the server takes for XOAUTH2."""
    now = int(time.time())
    claims = {"sub": user, "iat": now - 60, "nbf": now - 60, "exp": now + lifetime, "iss": "tests"}
    parts = [_unpadded(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "HS256"}, claims)]
    signed = ".".join(parts)
    return f"{signed}.{_unpadded(hmac.digest(_TOKEN_KEY, signed.encode(), 'sha256'))}"


def _unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(slots=True)
class MailServer:
    """One Dovecot in `root`, on two loopback ports."""

    root: Path
    port: int = field(default_factory=free_port)
    starttls_port: int = field(default_factory=free_port)
    host: str = "localhost"
    authority: Authority = field(default_factory=new_authority)
    guard: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start the server and return when it answers; again after `stop`."""
        binary = shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if binary is None:
            raise ServiceMissing("There is no dovecot on this machine: install dovecot-imapd, or run `make services`.")
        user = "nobody" if os.geteuid() == 0 else _own_name()
        if not self.root.exists():
            self._lay_out(user)
        command = [binary, "-F", "-c", str(self.root / "dovecot.conf")]
        log_path = self.root.with_suffix(".log")
        self.guard = start_guarded(
            command,
            owner=os.getpid(),
            log_path=log_path,
            user=user if os.geteuid() == 0 else "-",
            on_end=signal.SIGTERM,
        )

        def answers_or_ended() -> bool:
            return self._answers() or (self.guard is not None and self.guard.poll() is not None)

        wait_until(answers_or_ended, 30, f"Dovecot in {self.root}")
        assert self.guard.poll() is None, f"Dovecot did not start:\n{log_path.read_text()}\n{self.log}"

    def _lay_out(self, user: str) -> None:
        group = _group_of(user)
        for folder in (self.root, *(self.root / name for name in ("run", "state", "mail", "keys/default/HS256"))):
            folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "root": self.root, "user": user, "group": group, "port": self.port, "starttls_port": self.starttls_port
        }  # fmt: skip
        (self.root / "dovecot.conf").write_text(_CONFIG.format(**settings))
        (self.root / "oauth2.conf").write_text(_OAUTH2.format(root=self.root))
        check = self.root / "check"
        check.write_text(_CHECK.format(root=self.root))
        check.chmod(0o700)
        (self.root / "server.pem").write_text(self.authority.certificate)
        (self.root / "server.key").write_text(self.authority.key)
        (self.root / "users").touch()
        (self.root / "keys/default/HS256/default").write_text(base64.b64encode(_TOKEN_KEY).decode())
        if os.geteuid() == 0:
            for path in (self.root, *self.root.rglob("*")):
                shutil.chown(path, user, group)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, imaplib.IMAP4.error):
            imaplib.IMAP4("127.0.0.1", self.starttls_port, timeout=5).shutdown()
            return True
        return False

    @property
    def log(self) -> str:
        """What the server has written so far."""
        try:
            return (self.root / "dovecot.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def stop(self) -> None:
        """End the server and every connection; the mail stays."""
        assert self.guard is not None, "a server is started before it is stopped"
        self.guard.terminate()
        self.guard.wait(20)

    def add_user(self, name: str, password: str) -> None:
        """Let somebody log in, from now on."""
        with (self.root / "users").open("a") as file:
            file.write(f"{name}\0{password}\0\0".encode().hex() + "\n")

    @contextlib.contextmanager
    def mailbox(self, user: str) -> Iterator[imaplib.IMAP4_SSL]:
        """A connection of the user's own, past everything of Botkeep."""
        context = ssl.create_default_context(cadata=self.authority.pem)
        client = imaplib.IMAP4_SSL(self.host, self.port, ssl_context=context, timeout=20)
        try:
            answer = f"user={user}\1auth=Bearer {token(user)}\1\1"
            client.authenticate("XOAUTH2", lambda _: answer.encode())
            yield client
        finally:
            client.logout()

    def append(self, user: str, message: bytes, *, folder: str = "INBOX") -> int:
        """Put a message into a folder, which is made where it is missing; answers its UID."""
        with self.mailbox(user) as client:
            if folder != "INBOX":
                client.create(folder)
            status, data = client.append(folder, "", "", message)
            assert status == "OK", data
            return int(data[0].split(b"]")[0].split()[-1])

    def uids(self, user: str, *, folder: str = "INBOX", criteria: str = "ALL") -> list[int]:
        """The messages in a folder that match."""
        with self.mailbox(user) as client:
            status, _ = client.select(folder, readonly=True)
            if status != "OK":
                return []
            return [int(uid) for uid in client.uid("SEARCH", criteria)[1][0].split()]

    def wait_for(self, user: str, uids: list[int], what: str, *, criteria: str = "ALL", within: float = 40) -> None:
        """Wait until exactly these messages of the inbox match."""
        with self.mailbox(user) as client:

            def found() -> list[int]:
                client.select(readonly=True)
                return [int(uid) for uid in client.uid("SEARCH", criteria)[1][0].split()]

            wait_until(lambda: found() == uids, within, what)

    def renumber(self, user: str, *, folder: str = "INBOX") -> None:
        """Give a folder another UIDVALIDITY and its messages other UIDs, as a restored server does."""
        home = self.root / "mail" / hashlib.sha256(user.encode()).hexdigest() / "Maildir"
        place = home if folder == "INBOX" else home / f".{folder}"
        listing = place / "dovecot-uidlist"
        validity = int(listing.read_text().split("V", 1)[1].split()[0])
        for left in place.glob("dovecot*"):
            left.unlink()
        listing.write_text(f"3 V{validity + 1000} N5001 G{os.urandom(16).hex()}\n")
        shutil.chown(listing, *_owner(place))


def _owner(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid


def _own_name() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def _group_of(user: str) -> str:
    return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name


@pytest.fixture(scope="session")
def shared_mail_server(services: Services) -> Iterator[MailServer]:
    """The mail server of a folder of tests; take `mail_server` instead."""
    server = MailServer(services.root / f"dovecot-{uuid.uuid4().hex[:8]}")
    try:
        server.start()
    except ServiceMissing as missing:
        if services_required():
            raise
        pytest.skip(str(missing))
    services.keep(server.guard)
    yield server
    server.stop()


@pytest.fixture
def mail_server(shared_mail_server: MailServer) -> MailServer:
    """A running mail server; take a `new_user` of your own."""
    return shared_mail_server


@pytest.fixture
def user(mail_server: MailServer) -> str:
    """Somebody with an empty mailbox, whose password is `PASSWORD`."""
    name = f"user-{uuid.uuid4().hex[:12]}"
    mail_server.add_user(name, PASSWORD)
    return name
