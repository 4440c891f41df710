"""What a bot finds when it starts: its variables, files, descriptors, packages; and what is left of it afterwards."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from tests.support import ProcessId, identity_of, wait_until
from tests.system import System, digest

pytestmark = pytest.mark.timeout(240)

OWN_NAMES = {
    "BOTKEEP_ASSET_DIR",
    "BOTKEEP_ATTEMPT",
    "BOTKEEP_BOT",
    "BOTKEEP_ENDPOINT",
    "BOTKEEP_ENVIRONMENT",
    "BOTKEEP_JOB_ID",
    "BOTKEEP_OUTPUT_DIR",
    "BOTKEEP_PARAMETERS_FILE",
    "BOTKEEP_TOKEN",
    "HOME",
    "LANG",
    "PATH",
    "TMPDIR",
    "TZ",
}


def test_a_bot_gets_its_assets_the_documented_names_and_nothing_else(system: System) -> None:
    system.add_bot()
    system.set_value("GLOBAL.KEY", "value-1")
    job = system.run(environment="staging")
    told = system.told(job)
    assert set(told["names"]) == OWN_NAMES | {"KLANGO_ASSET_GLOBAL_KEY", "KLANGO_KEY"}
    public = told["public"]
    assert (public["BOTKEEP_JOB_ID"], public["BOTKEEP_BOT"]) == (job["id"], "tells")
    assert (public["BOTKEEP_ENVIRONMENT"], public["BOTKEEP_ATTEMPT"]) == ("staging", "1")
    assert public["BOTKEEP_ENDPOINT"].startswith("http://127.0.0.1:")
    folders = [public[name] for name in ("HOME", "TMPDIR", "BOTKEEP_OUTPUT_DIR", "BOTKEEP_ASSET_DIR")]
    assert len({*folders, told["cwd"]}) == 5


def test_the_environment_of_a_python_bots_process_holds_no_value(system: System) -> None:
    system.add_bot()
    system.set_value("SAP.PASSWORD", "Canary-In-Proc-1")
    gate = system.shared / "gate"
    job_id = system.enqueue(parameters={"gate": str(gate), "P": "{{ASSET.SAP.PASSWORD}}"})
    try:
        system.wait_for(job_id, "running")
        (line,) = wait_until(lambda: system.log(job_id, "stdout"), 30, "the bot to tell")
        bot = identity_of(json.loads(line)["pid"])
        at_exec = Path(f"/proc/{bot.pid}/environ").read_bytes()
        command = Path(f"/proc/{bot.pid}/cmdline").read_bytes()
    finally:
        gate.touch()
    told = system.told(system.wait_for(job_id))
    gate.unlink()
    assert b"Canary" not in at_exec + command
    assert (told["names_at_exec"], told["leaks_at_exec"]) == (["LANG", "PATH", "TZ"], False)
    assert told["values"] == {"KLANGO_ASSET_SAP_PASSWORD": digest("Canary-In-Proc-1")}


def test_a_bot_has_no_descriptor_but_its_three(system: System) -> None:
    system.add_bot()
    assert system.told(system.run())["descriptors"] == [0, 1, 2]


SHELL = """
command = ["/bin/sh", "-c", '''
printf %s "$KLANGO_ASSET_SAP_PASSWORD" | sha256sum
sha256sum < "$BOTKEEP_PARAMETERS_FILE"
echo $(env | cut -d= -f1)
ls /proc/$$/fd
''']
"""


def test_a_bot_that_is_no_python_program_gets_the_same_environment(system: System) -> None:
    system.add_bot("shell", toml=SHELL)
    system.set_value("SAP.PASSWORD", "value-1")
    job = system.run("shell", parameters={"P": "secret://SAP/PASSWORD"})
    value, parameters, names, *descriptors = system.log(job["id"], "stdout")
    assert value.split()[0] == digest("value-1")
    assert parameters.split()[0] == digest('{"P": "value-1"}')
    assert set(names.split()) - {"PWD", "OLDPWD", "SHLVL", "_"} == OWN_NAMES | {"KLANGO_ASSET_SAP_PASSWORD"}
    assert descriptors == ["0", "1", "2"]


def test_the_parameters_file_is_private_and_every_value_that_is_asked_for_as_a_file(system: System) -> None:
    system.add_bot(toml='files = ["CERT.*"]\n')
    system.set_value("CERT.CLIENT", "-----BEGIN-----\nabc\n")
    system.set_value("SAP.PASSWORD", "value-1")
    told = system.told(system.run(parameters={"region": "eu"}))
    assert (
        told["files"]["CERT.CLIENT"] == told["values"]["KLANGO_ASSET_CERT_CLIENT"] == digest("-----BEGIN-----\nabc\n")
    )
    assert told["files"]["parameters.json"] == digest('{"region": "eu"}')
    assert set(told["files"]) == {"CERT.CLIENT", "parameters.json"}
    assert set(told["modes"].values()) == {0o600}
    assert told["public"]["BOTKEEP_ASSET_DIR"].startswith("/dev/shm/")


def test_nothing_of_an_attempt_is_left_behind(system: System) -> None:
    litter = """
import os, pathlib
for name in ("HOME", "TMPDIR", "BOTKEEP_OUTPUT_DIR"):
    locked = pathlib.Path(os.environ[name], "deep", "er")
    locked.mkdir(parents=True)
    locked.joinpath("file").write_text(os.environ["KLANGO_ASSET_SAP_PASSWORD"])
    locked.chmod(0)
    locked.parent.chmod(0)
print(os.environ["HOME"], os.environ["BOTKEEP_ASSET_DIR"])
"""
    system.add_bot(source=litter)
    system.set_value("SAP.PASSWORD", "value-1")
    job = system.run()
    home, values = (Path(folder) for folder in system.log(job["id"], "stdout")[0].split())
    assert list(values.iterdir()) == []
    for folder in ("home", "tmp", "output"):
        assert list((home.parent / folder).iterdir()) == []
    assert {path.name for path in home.parent.iterdir()} == {"home", "tmp", "output", "package"}


def test_two_bots_at_once_share_no_folder(system: System) -> None:
    system.add_bot()
    gate = system.shared / "gate"
    ids = [system.enqueue(parameters={"gate": str(gate)}) for _ in range(2)]
    wait_until(lambda: all(system.log(job_id, "stdout") for job_id in ids), 30, "both bots to run")
    gate.touch()
    told = [system.told(system.wait_for(job_id)) for job_id in ids]
    gate.unlink()
    for name in ("HOME", "TMPDIR", "BOTKEEP_OUTPUT_DIR", "BOTKEEP_ASSET_DIR"):
        assert told[0]["public"][name] != told[1]["public"][name]


#: Packs the environment of its own build into the module that it builds.
BACKEND = """
import os, zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = "probe-1.0-py3-none-any.whl"
    info = "probe-1.0.dist-info/"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as wheel:
        wheel.writestr("probe.py", "BUILT_WITH = " + repr(dict(os.environ)))
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: probe\\nVersion: 1.0\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return name
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "probe"
version = "1.0"
"""
USES_PROBE = """
import hashlib, os, probe
print(hashlib.sha256(os.environb[b"KLANGO_ASSET_SAP_PASSWORD"]).hexdigest())
print(*sorted(probe.BUILT_WITH))
print(any("Canary-In-Build" in text for text in probe.BUILT_WITH.values()), probe.__file__)
"""


@pytest.fixture
def index(system: System) -> Path:
    """The folder where the runner looks for packages, with a source distribution that tells how it was built."""
    folder = system.home / "index"
    with tarfile.open(folder / "probe-1.0.tar.gz", "w:gz") as archive:
        for name, text in (("pyproject.toml", PROJECT), ("backend.py", BACKEND), ("PKG-INFO", "")):
            info = tarfile.TarInfo(f"probe-1.0/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return folder


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("requirements.txt", "probe==1.0\n"),
        ("pyproject.toml", '[project]\nname = "bot"\nversion = "1"\ndependencies = ["probe>=1"]\n'),
        ("main.py", "# /// script\n# dependencies = ['probe<2']\n# ///\n" + USES_PROBE),
    ],
)
def test_dependencies_are_built_without_an_asset_and_outside_the_time_limit(
    system: System, index: Path, name: str, text: str
) -> None:
    added = system.add_bot(source=USES_PROBE, toml='timeout = "20s"\n', **{name: text})
    assert added["dependencies"] is True
    system.set_value("SAP.PASSWORD", "Canary-In-Build")
    first, second = system.run(), system.run()
    for job in (first, second):
        assert job["state"] == "succeeded", system.log(job["id"])
        value, names, leaks = system.log(job["id"], "stdout")
        assert value == digest("Canary-In-Build")
        assert not any(each.startswith(("KLANGO_", "BOTKEEP_")) for each in names.split())
        assert leaks.startswith("False ")
    assert any("Building" in line for line in system.log(first["id"], "system"))
    assert system.log(second["id"], "system") == [], "the environment is kept by content"


def test_dependencies_that_cannot_be_had_fail_the_job_with_the_builders_words(system: System) -> None:
    system.add_bot(**{"requirements.txt": "no-such-package-anywhere==1\n"})
    system.set_value("SAP.PASSWORD", "value-1")
    job = system.run()
    assert (job["state"], job["reason"]) == ("failed", "dependencies")
    assert "no-such-package-anywhere" in job["detail"]
    assert any("no-such-package-anywhere" in line for line in system.log(job["id"], "system"))
    assert job["readings"] == [], "nothing is decrypted for a bot that cannot start"


def test_a_bot_leaves_no_process_behind(system: System) -> None:
    source = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(3600)
    os._exit(0)
time.sleep(0.2)
"""
    system.add_bot(source=source)
    job = system.run()
    pid = int(system.log(job["id"], "stdout")[0])
    assert (job["state"], job["attempts"][0]["survivors"]) == ("succeeded", 0)
    assert ProcessId.of(pid) is None
