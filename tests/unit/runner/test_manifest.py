"""What bot.toml may say, and how its mistakes are told."""

import contextlib
import json
import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.durations import duration
from runner.manifest import Manifest, ManifestInvalid, Parameter, Retries, read_manifest


def read(text: str, *names: str) -> Manifest:
    return read_manifest({"bot.toml": text.encode(), **dict.fromkeys(names or ("main.py",), b"")})


def refusal(text: str, *names: str) -> str:
    with pytest.raises(ManifestInvalid) as caught:
        read(text, *names)
    return str(caught.value)


FULL = """
name = "report"
entry = "src/start.py"
timeout = "90s"
grace = 2.5
retries = { limit = 3, delay = "1m", factor = 1.5 }
concurrency = 2
assets = ["SAP.*", "DB.PASSWORD"]
files = ["DB.CERTIFICATE"]
requirements = ["requests>=2"]

[parameters.REGION]
default = { name = "eu", numbers = [1, 2.5, true] }

[parameters.DAY]
required = true
"""


def test_every_key_is_read() -> None:
    assert read(FULL, "src/start.py") == Manifest(
        name="report",
        entry="src/start.py",
        timeout=timedelta(seconds=90),
        grace=timedelta(seconds=2.5),
        retries=Retries(limit=3, delay=timedelta(minutes=1), factor=1.5),
        concurrency=2,
        assets=("SAP.*", "DB.PASSWORD"),
        files=("DB.CERTIFICATE",),
        requirements=("requests>=2",),
        parameters={
            "REGION": Parameter(default={"name": "eu", "numbers": [1, 2.5, True]}),
            "DAY": Parameter(required=True),
        },
    )


def test_what_is_omitted_has_the_documented_value() -> None:
    manifest = read("")
    assert (manifest.entry, manifest.timeout, manifest.grace) == (
        "main.py",
        timedelta(hours=1),
        timedelta(seconds=10),
    )
    assert (manifest.retries.limit, manifest.concurrency, manifest.assets, manifest.files) == (
        0,
        None,
        None,
        (),
    )


@pytest.mark.parametrize("text", [FULL, "", 'command = ["./run", "-x"]', 'entry = "main.py"\ntimeout = 0.125'])
def test_a_manifest_survives_json(text: str) -> None:
    manifest = read(text, "main.py", "src/start.py") if "entry" in text or "command" in text else read(text)
    stored = json.dumps(manifest.model_dump(mode="json"), allow_nan=False)
    assert Manifest.from_json(json.loads(stored)) == manifest


def test_durations_are_stored_as_seconds() -> None:
    assert read('timeout = "5m"').model_dump(mode="json")["timeout"] == 300.0


def test_a_stored_manifest_with_a_foreign_key_is_refused() -> None:
    with pytest.raises(ManifestInvalid, match="'colour' is not a key"):
        Manifest.from_json({"entry": "main.py", "colour": "red"})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("1h", 3600), ("1.5h", 5400), ("2d", 172_800), (7, 7), (0.25, 0.25), (0, 0)],
)
def test_a_duration_is_text_with_a_unit_or_seconds(text: object, seconds: float) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    ["", "30", "s", "-5s", "5 m", "5M", "1h30m", "30s\n", "٣s", "1e3s", -1, True, None, [], float("nan"), float("inf"),
     "31d", 2_592_001, 10**400],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_anything_else_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        duration(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('entry = "main.py"\ntimout = 3', "bot.toml, line 2: 'timout' is not a key of bot.toml; did you mean timeout?"),
        ('\n\ntimeout = "soon"', "bot.toml, line 3: 'timeout' must be a duration"),
        ("timeout = 0", "line 1: 'timeout' must be longer than 0 seconds"),
        ('concurrency = "2"', "line 1: 'concurrency' must be a whole number"),
        ("concurrency = true", "'concurrency' must be a whole number"),
        ("concurrency = 0", "'concurrency' must be greater than or equal to 1"),
        ("name = 3", "'name' must be text in quotes"),
        ('name = "a b"', "'name' is no name: write"),
        ('name = "a\\n"', "'name' is no name: write"),
        ("retries = { limt = 1 }", "line 1: 'retries.limt' is not a key of bot.toml; did you mean limit?"),
        ("[retries]\ndelay = '1s'\nfactor = 0.5", "line 3: 'retries.factor' must be greater than or equal to 1"),
        ("[retries]\nfactor = nan", "line 2: 'retries.factor' must be"),
        ("retries = 3", "'retries' must be a table"),
        ("[parameters.A]\n[parameters.B]\nrequired = 'yes'", "line 3: 'parameters.B.required' must be true or false"),
        ("[parameters.A]\nrequired = 1\n[parameters]\n", "line 2: 'parameters.A.required' must be true or false"),
        ("[parameters.A]\nrequired = true\ndefault = 1", "line 1: 'parameters.A' has a default and is required"),
        ("[parameters.A]\ndefault = 1979-05-27", "line 2: 'parameters.A.default' must be text, a number"),
        ("[parameters.A]\ndefault = inf", "line 2: 'parameters.A.default'"),
        ("[parameters.'A B']\ndefault = 1", "'parameters.A B' is no name"),
        ("assets = ['*.*.*']", "line 1: 'assets' must hold asset names"),
        ("assets = 'SAP.*'", "'assets' must be a list in square brackets"),
        ("command = 'run'", "'command' must be a list in square brackets"),
        ("command = []", "'command' must begin with a program"),
        ("command = ['']", "'command' must begin with a program"),
        ("command = ['a', 3]", "'command' must be text in quotes"),
        ("command = ['a']\nentry = 'main.py'", "Write either entry"),
        ("command = ['a', \"b\\u0000c\"]", "'command' holds a NUL character"),
        ('[parameters."A\\u0000"]\ndefault = 1', "holds a NUL character"),
        ("isolation = 'strict'", "line 1: 'isolation' must be any, landlock, user or sandbox"),
        ("network = false", 'write isolation = "sandbox" beside network = false'),
        ("[limits]\nmemry = 1", "line 2: 'limits.memry' is not a key of bot.toml; did you mean memory?"),
        ("[limits]\ndisk = '5 apples'", "line 2: 'limits.disk' must be a size such as"),
        ("[limits]\ndisk = true", "line 2: 'limits.disk' must be a size such as"),
        ("limits = { memory = 4096 }", "line 1: 'limits.memory' must be between 16MB and 1024TB"),
        ("limits.memory = '2000TB'", "line 1: 'limits.memory' must be between 16MB and 1024TB"),
        ("limits.open_files = -1", "line 1: 'limits.open_files' must be greater than or equal to 16"),
        ("limits.processes = 0", "line 1: 'limits.processes' must be greater than or equal to 1"),
        ("limits.cpu_time = 0.5", "line 1: 'limits.cpu_time' must be 1 second or more"),
        ("limits.output = 0", "line 1: 'limits.output' must be between 1KB and"),
        ("timeout = \nname = 1", "bot.toml is not valid TOML: Invalid value (at line 1"),
        ("timeout = " + "9" * 5000, "bot.toml is not valid TOML"),
        ("a = " + "[" * 5000, "bot.toml is nested too deeply"),
        ("# " + "x" * 70_000, "it may have 65,536"),
        ("entry = 'mian.py'", "line 1: 'entry': 'mian.py' is not a file of the package; did you mean 'main.py'?"),
        ("entry = '/etc/passwd'", "is not a file of the package"),
        ("entry = 'bot.toml'", "'entry' must be a .py file; use command"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_key_and_line(text: str, said: str) -> None:
    assert said in refusal(text)


def test_several_mistakes_are_told_at_once() -> None:
    assert re.search(r"'name' .*'grace' ", refusal("name = 1\ngrace = 'x'"))


def test_bytes_that_are_not_utf8_are_told_with_their_line() -> None:
    with pytest.raises(ManifestInvalid, match="line 2: this is not UTF-8"):
        read_manifest({"bot.toml": b"#\nname = '\xff'", "main.py": b""})


def test_a_byte_order_mark_and_windows_line_ends_are_read() -> None:
    text = b'\xef\xbb\xbfentry = "main.py"\r\ntimeout = "2s"\r\n'
    assert read_manifest({"bot.toml": text, "main.py": b""}).timeout == timedelta(seconds=2)


@pytest.mark.parametrize(
    ("names", "entry"),
    [
        (["report.py"], "report.py"),
        (["main.py", "other.py"], "main.py"),
        (["bot.py", "other.py"], "bot.py"),
        (["report.py", "lib/main.py", "data.csv"], "report.py"),
    ],
)
def test_one_obvious_entry_needs_no_bot_toml(names: list[str], entry: str) -> None:
    assert read_manifest(dict.fromkeys(names, b"")).entry == entry


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "there is no .py file"),
        (["lib/main.py"], "there is no .py file in its top folder"),
        (["a.py", "b.py"], 'a.py, b.py could each be it. Write a bot.toml with the line entry = "a.py"'),
        (["main.py", "bot.py"], "bot.py, main.py could each be it"),
    ],
)
def test_without_one_obvious_entry_it_says_what_to_write(names: list[str], said: str) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        read_manifest(dict.fromkeys(names, b""))
    assert said in str(caught.value)
    assert "Write a bot.toml with the line entry" in str(caught.value)


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ManifestInvalid):
        read(text)
