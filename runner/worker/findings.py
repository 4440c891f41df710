"""`python -m runner.worker.findings`: what `botkeep doctor` says of the users for bots, as a JSON list on one line.

Each finding has a `level` (`ok`, `warn`, `fail`), a `message` and a `mend`. Changes nothing. What only the service
manager gives (the right to switch) is looked for in this very process, so run it as root or from the unit to be sure.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Iterator

from runner.errors import Invalid
from runner.worker import bot_users, privileges
from runner.worker.clearing import lives
from runner.worker.leases import BotUser
from runner.worker.settings import RunnerSettings
from vault.errors import VaultError
from vault.settings import load

Finding = tuple[str, str, str]


def main() -> None:
    try:
        settings = load(RunnerSettings, {})
        found = list(findings(settings))
    except (Invalid, VaultError, OSError) as error:
        found = [("fail", str(error), "Correct it, then start the runner again.")]
    told = [{"level": level, "message": message, "mend": mend} for level, message, mend in found]
    sys.stdout.write(json.dumps(told) + "\n")


def findings(settings: RunnerSettings) -> Iterator[Finding]:
    """What is to be said of the setting. Raises `Invalid` for one that no runner would start with."""
    users = bot_users.parse(settings.bot_users)
    if not users:
        yield "ok", "Bots run as the runner's user; BOTKEEP_BOT_USERS would give each a user of its own.", ""
        return
    if len(users) < settings.concurrency:
        message = f"BOTKEEP_BOT_USERS names {len(users)} users for {settings.concurrency} bots at the same time."
        yield "fail", message, "Name more, or lower BOTKEEP_CONCURRENCY."
    else:
        yield "ok", f"{len(users)} users for {settings.concurrency} bots at the same time.", ""
    if lacking := privileges.missing():
        mend = "Run this as root to try them; the unit gives the right (deploy/systemd/bot-users.conf)."
        yield "warn", f"Who runs this may not switch to them: it lacks {', '.join(lacking)}.", mend
    else:
        yield _reach(users[0])
    if strangers := [user.name for user in users if lives(user.number) and not _leased(settings, user)]:
        mend = f"End them (pkill -KILL -u {','.join(strangers)}), or take these users out."
        yield "warn", f"Processes that are no bots run as {', '.join(strangers)}; these are passed over.", mend


def _reach(user: BotUser) -> Finding:
    try:
        bot_users.require_reachable(user)
    except Invalid as error:
        return "fail", str(error), ""
    return "ok", "They can be switched to, and reach Botkeep's Python.", ""


def _leased(settings: RunnerSettings, user: BotUser) -> bool:
    """Whether an attempt has that user; yes, too, where that cannot be seen."""
    try:
        file = os.open(settings.bot_users_dir / str(user.number), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


if __name__ == "__main__":
    main()
