"""A host with the keys of some environments, as those who rotate and verify there use it."""

import subprocess
import sys
from pathlib import Path

from tests.support import ROOT, Stores, clean_environment


def vault(stores: Stores, home: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    env = {**clean_environment(), **stores.environment, "BOTKEEP_HOME": str(home)}
    command = [sys.executable, "-P", "-m", "vault", *argv]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=50, check=False)


def test_what_has_no_key_pair_is_not_verified_and_a_key_that_is_missing_is(stores: Stores, home: Path) -> None:
    assert vault(stores, home, "keygen", "--env", "prod").returncode == 0
    verified = vault(stores, home, "verify")
    assert (verified.returncode, verified.stderr) == (0, ""), verified.stderr
    asked = vault(stores, home, "verify", "--env", "dev")
    assert (asked.returncode, "make it on a key host: python -m vault keygen --env dev" in asked.stderr) == (5, True)
    (home / "keys" / "prod.key").unlink()
    lost = vault(stores, home, "verify")
    assert (lost.returncode, "prod.key: bring it from a key host or from a backup." in lost.stderr) == (5, True)
