"""What `botkeep doctor` finds out about the private keys of this host: who can read them, and whose they are.

No key enters this process: another one looks at what is in the files.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cli import processes
from cli.finding import Finding, private
from cli.home import Home

ENVIRONMENTS = ("dev", "staging", "prod")


def check_keys(home: Home, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the private keys are their owner's alone, and in their places; a client's host needs none."""
    if environ.get("BOTKEEP_KEY_COMMAND"):
        yield _key_command(environ["BOTKEEP_KEY_COMMAND"])
        return
    chosen = environ.get("BOTKEEP_KEY_DIR")
    passed = environ.get("CREDENTIALS_DIRECTORY")
    if passed and not chosen:
        found = [environment for environment in ENVIRONMENTS if (Path(passed) / f"{environment}.key").exists()]
        if found:
            yield Finding("keys", "ok", f"The service manager passes the keys of {', '.join(found)} in {passed}.")
            yield from _whose(home, environ, found)
            return
    keys = Path(chosen) if chosen else home.keys
    if keys.is_dir():
        yield from _key_files(keys, home, environ)
    elif chosen:
        mend = "Correct BOTKEEP_KEY_DIR, or bring the key files there."
        yield Finding("keys", "fail", f"BOTKEEP_KEY_DIR names {keys}, which is no folder.", mend)
    else:
        yield Finding("keys", "warn", "This host has no keys.", "Expected on a client; else run `botkeep up`.")


def _key_files(keys: Path, home: Home, environ: Mapping[str, str]) -> Iterator[Finding]:
    yield private("keys", keys, 0o700)
    found = {environment: _key_file(environment, keys / f"{environment}.key") for environment in ENVIRONMENTS}
    sound = [environment for environment, finding in found.items() if finding.level == "ok"]
    whose = list(_whose(home, environ, sound)) if sound else []
    found.update((finding.name.removeprefix("key "), finding) for finding in whose)
    yield from found.values()


def _key_file(environment: str, path: Path) -> Finding:
    if path.is_symlink():
        return Finding(f"key {environment}", "fail", f"{path} is a link.", "Put the file itself in its place.")
    if path.exists() and not path.is_file():
        return Finding(f"key {environment}", "fail", f"{path} is no plain file.", "Put the file itself in its place.")
    if not path.exists():
        mend = "Bring it from a key host if this one is to serve the environment."
        return Finding(f"key {environment}", "warn", f"{path} is not there.", mend)
    return private(f"key {environment}", path, 0o600)


def _whose(home: Home, environ: Mapping[str, str], environments: Sequence[str]) -> Iterator[Finding]:
    """Whether these key files are those of their environments and of the database, as the runner's own code says."""
    found, why = processes.answer_or_reason("runner.worker.key_findings", home=home.path, environ=environ)
    if not isinstance(found, list):
        mend = "Correct that, or run `python -m runner.worker.key_findings` to see more."
        yield Finding("keys", "warn", f"What is in them could not be looked at. {why}".strip(), mend)
        return
    for each in found:
        if each["environment"] in environments:
            yield Finding(f"key {each['environment']}", each["level"], each["message"], each["mend"])


def _key_command(text: str) -> Finding:
    """Whether the runner can read and find the command that prints its keys; it is not run."""
    try:
        words = json.loads(text)
    except ValueError:
        words = None
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        mend = 'Write words, as ["pass", "show", "botkeep/{environment}"].'
        return Finding("keys", "fail", "BOTKEEP_KEY_COMMAND is no JSON list of words.", mend)
    if shutil.which(words[0]) is None:
        mend = "Install it, or name it by its path."
        return Finding("keys", "fail", f"BOTKEEP_KEY_COMMAND names {words[0]}, which is not there.", mend)
    return Finding("keys", "ok", f"The keys are printed by {words[0]}, which is not run here.")
