"""Packages with a robot.yaml: what starts them, what they need, and what is refused by name."""

import pytest

from runner import robots
from runner.dependencies import find_dependencies
from runner.dialects import spoken
from runner.errors import Invalid
from runner.manifest import Manifest, read_manifest

ROBOT = b"""
tasks:
  One:
    shell: python -m robocorp.tasks run tasks.py -t "one task"
  Two:
    command: [python, main.py]
  Three:
    robotTaskName: Buy things
environmentConfigs: [environment_windows_amd64_freeze.yaml, conda.yaml]
PYTHONPATH: [., lib, ../outside, /etc]
"""
CONDA = b"""
dependencies:
  - python=3.10.12
  - pip=23.2.1
  - pip:
    - robocorp-tasks==2.0.0
    - requests
"""


@pytest.mark.parametrize(
    ("task", "command"),
    [
        ("One", ("python", "-m", "robocorp.tasks", "run", "tasks.py", "-t", "one task")),
        ("Two", ("python", "main.py")),
        ("Three", ("python", "-m", "robot", "--report", "NONE", "--task", "Buy things", ".")),
    ],
)
def test_a_task_is_started_as_its_world_starts_it(task: str, command: tuple[str, ...]) -> None:
    files = {"robot.yaml": ROBOT, "conda.yaml": CONDA, "bot.toml": f'[robot]\ntask = "{task}"\n'.encode()}
    manifest = read_manifest(files)
    assert manifest.command == command
    assert manifest.python_path == (".", "lib")
    assert Manifest.from_json(manifest.model_dump(mode="json")) == manifest


def test_what_conda_lists_below_pip_counts() -> None:
    files = {"robot.yaml": ROBOT, "conda.yaml": CONDA, "requirements.txt": b"other\n"}
    found = find_dependencies(files, entry=None, requirements=None)
    assert found is not None
    assert (found.text, found.python, found.source) == ("requests\nrobocorp-tasks==2.0.0\n", ">=3.10", "conda.yaml")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"robot.yaml": ROBOT, "conda.yaml": CONDA}, "the tasks One, Two, Three. Say which"),
        ({"robot.yaml": b"tasks: {}"}, "has no tasks"),
        ({"robot.yaml": b"tasks: [a"}, "not valid YAML"),
        ({"robot.yaml": b"- a"}, "not a YAML mapping"),
        ({"robot.yaml": b"tasks: {A: {}}"}, "neither shell, command nor robotTaskName"),
        ({"robot.yaml": b"tasks: {A: {shell: 'python \"x'}}"}, "cannot be read"),
        ({"robot.yaml": b"x" * (robots.MAX_SIZE + 1)}, "bytes; it may have"),
        ({"robot.yaml": ROBOT, "bot.toml": b'[robot]\ntask = "Four"\n'}, "has no task 'Four'"),
    ],
)
def test_what_cannot_be_started_is_refused(files: dict[str, bytes], words: str) -> None:
    with pytest.raises(Invalid, match=words.replace("(", r"\(")):
        read_manifest(files)


@pytest.mark.parametrize(
    ("conda", "words"),
    [
        (b"dependencies: [python=3.10, tesseract=5]", "'tesseract=5' comes from conda"),
        (b"dependencies: 5", "must be a list"),
        (b"dependencies: [{pip: ['./local']}]", "is not a requirement"),
    ],
)
def test_what_no_runner_can_install_is_refused(conda: bytes, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        find_dependencies({"robot.yaml": ROBOT, "conda.yaml": conda}, entry=None, requirements=None)
    with pytest.raises(Invalid, match=r"names 'conda.yaml', which is not in the package"):
        find_dependencies({"robot.yaml": ROBOT}, entry=None, requirements=None)


@pytest.mark.parametrize(
    ("requirements", "toml", "dialects"),
    [
        (b"roboto>=0.5\n", b"", {"roboto"}),
        (b"robocorp-vault\nrequests\n", b"", {"robocorp"}),
        (b"rpaframework==33\nroboto\n", b"", {"robocorp", "roboto"}),
        (b"roboto-mcap-codec\nrequests\n", b"", set()),
        (b"roboto\n", b"dialects = []\n", set()),
        (b"requests\n", b'dialects = ["robocorp"]\n', {"robocorp"}),
    ],
)
def test_a_dialect_is_known_by_the_packages_of_its_world(requirements: bytes, toml: bytes, dialects: set[str]) -> None:
    files = {"main.py": b"", "requirements.txt": requirements, "bot.toml": toml}
    manifest = read_manifest(files)
    found = find_dependencies(files, entry=manifest.entry, requirements=manifest.requirements)
    assert spoken(manifest, found) == dialects
