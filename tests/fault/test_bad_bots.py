"""Bots that misbehave, through the whole system: each ends cleanly and for its own reason, and the next job is well."""

import pytest

from tests.system import System

pytestmark = pytest.mark.timeout(240)

#: Each bot: source, bot.toml, and state, reason and a word of the detail or of a warning that must come of it.
BAD: dict[str, tuple[str, str, tuple[str, str | None, str]]] = {
    "closes-its-pipes": ("import os; os.close(1); os.close(2)", "", ("succeeded", None, "")),
    "floods-its-pipes": (
        "import os\nfor _ in range(400): os.write(1, b'x' * 4096); os.write(2, b'y\\n' * 2048)",
        '[limits]\noutput = "64KB"\n',
        ("succeeded", None, "limit `output`"),
    ),
    "writes-to-the-runners-folder": ("open({home!r} + '/was-here', 'w')", "", ("failed", "exit_code", "status 1")),
    "reads-the-keys": ("print(open({home!r} + '/keys/dev.key').read())", "", ("failed", "exit_code", "status 1")),
    "kills-its-parent": ("import os; os.kill(os.getppid(), 9)", "", ("failed", "exit_code", "status 1")),
    "ignores-term": (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)",
        'timeout = "1s"\ngrace = "0.5s"\n',
        ("failed", "timeout", "time limit"),
    ),
    "forks-on": (
        "import os, time\nwhile True:\n    if os.fork() == 0: time.sleep(3600)\n    time.sleep(0.001)",
        "[limits]\nprocesses = 20\n",
        ("failed", "limit", "`processes`"),
    ),
}


def test_a_bot_that_misbehaves_ends_cleanly_and_for_its_reason(system: System) -> None:
    for name, (source, toml, _expected) in BAD.items():
        system.add_bot(name, source.format(home=str(system.home)), toml=toml)
    system.add_bot("well", "print('well')")
    jobs = {name: system.enqueue(name) for name in BAD}
    for name, (_source, _toml, (state, reason, word)) in BAD.items():
        job = system.wait_for(jobs[name], timeout=90)
        assert (job["state"], job["reason"]) == (state, reason), (name, job, system.log(jobs[name])[-3:])
        assert word in " ".join([job["detail"] or "", *job["warnings"]]), name
        assert (len(job["attempts"]), job["attempts"][0]["survivors"]) == (1, 0), name
    assert not (system.home / "was-here").exists()
    assert system.run("well")["state"] == "succeeded"
