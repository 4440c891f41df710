"""What goes into a bot's environment, what becomes a file, and who wins where two want one name."""

import json
import stat
from pathlib import Path

import pytest

from runner.worker.environment import Delivery, Facts, Folders, deliver, encode, public_environment, write_files
from vault.decrypt import Secret
from vault.grading import LARGEST_VARIABLE, grade
from vault.names import AssetName

FACTS = Facts("job-1", 2, "prod", "report", "http://127.0.0.1:1", "a-token")


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = Folders(
        root=tmp_path,
        package=tmp_path / "package",
        home=tmp_path / "home",
        tmp=tmp_path / "tmp",
        output=tmp_path / "output",
        assets=tmp_path / "assets",
        parameters=tmp_path / "assets" / "parameters.json",
    )
    made.assets.mkdir()
    return made


def asset(text: str) -> AssetName:
    return AssetName.parse(text)


def parsed(environment: bytes) -> dict[bytes, bytes]:
    items = environment.split(b"\0")
    assert items.pop() == b"", "each item ends with NUL"
    pairs = [item.partition(b"=") for item in items]
    assert len({name for name, _, _ in pairs}) == len(pairs), "a name stands there twice"
    return {name: value for name, _, value in pairs}


def test_nothing_is_inherited(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-worker")
    monkeypatch.setenv("LD_PRELOAD", "/tmp/x.so")
    monkeypatch.setenv("PATH", "/opt/of-the-worker")
    public = public_environment(FACTS, folders, python=None)
    assert "of-the-worker" not in " ".join(public.values())
    assert {name for name in public if not name.startswith("BOTKEEP_")} == {"PATH", "LANG", "TZ", "HOME", "TMPDIR"}


def test_the_path_begins_with_the_virtual_environment(folders: Folders) -> None:
    public = public_environment(FACTS, folders, python=Path("/venv/bin/python"))
    assert public["PATH"] == "/venv/bin:/usr/local/bin:/usr/bin:/bin"
    assert public_environment(FACTS, folders, python=None)["PATH"] == "/usr/local/bin:/usr/bin:/bin"


def test_facts_do_not_show_the_token() -> None:
    assert "a-token" not in repr(FACTS)


def test_a_value_becomes_its_variables(folders: Folders) -> None:
    delivery = deliver({asset("SAP.PASSWORD"): Secret(b"one"), asset("GLOBAL.KEY"): Secret(b"two")})
    assert delivery.variables == {
        "KLANGO_ASSET_SAP_PASSWORD": b"one",
        "KLANGO_ASSET_GLOBAL_KEY": b"two",
        "KLANGO_KEY": b"two",
    }
    assert (delivery.files, delivery.warnings) == ({}, ())


def test_an_unset_value_becomes_an_empty_variable() -> None:
    assert deliver({asset("GLOBAL.KEY"): None}).variables == {"KLANGO_ASSET_GLOBAL_KEY": b"", "KLANGO_KEY": b""}


def test_bytes_that_are_no_text_stay_as_they_are() -> None:
    value = bytes(range(1, 256))
    delivery = deliver({asset("A.B"): Secret(value)})
    assert parsed(encode({}, delivery)) == {b"KLANGO_ASSET_A_B": value}


def test_a_value_with_nul_becomes_a_file_and_a_warning() -> None:
    delivery = deliver({asset("A.B"): Secret(b"x\0y")})
    assert (delivery.variables, delivery.files) == ({}, {asset("A.B"): b"x\0y"})
    assert "A.B contains a NUL byte" in delivery.warnings[0]
    assert "$BOTKEEP_ASSET_DIR/A.B" in delivery.warnings[0]


@pytest.mark.parametrize("name", ["A.B", "GLOBAL.B", f"{'G' * 128}.{'N' * 128}"])
def test_the_largest_variable_is_the_kernels_and_saving_says_the_same(name: str) -> None:
    longest = len("KLANGO_ASSET__") + len(name) - 1
    fits = b"v" * (LARGEST_VARIABLE - longest - 2)
    for value, as_variable in ((fits, True), (fits + b"v", False)):
        delivery = deliver({asset(name): Secret(value)})
        assert bool(delivery.variables) is as_variable
        assert bool(delivery.files) is not as_variable
        said = any("cannot be an environment variable" in advice for advice in grade(value, asset(name)))
        assert said is not as_variable


def test_the_largest_variable_can_be_given_to_a_program() -> None:
    import subprocess

    name = "KLANGO_ASSET_A_B"
    value = "v" * (LARGEST_VARIABLE - len(name) - 2)
    subprocess.run(["/bin/true"], env={name: value}, check=True)
    with pytest.raises(OSError, match="Argument list too long"):
        subprocess.run(["/bin/true"], env={name: value + "v"}, check=True)


def test_a_declared_file_is_a_variable_too() -> None:
    delivery = deliver({asset("CERT.A"): Secret(b"pem"), asset("CERT.B"): None}, files=["CERT.*"])
    assert delivery.files == {asset("CERT.A"): b"pem"}
    assert set(delivery.variables) == {"KLANGO_ASSET_CERT_A", "KLANGO_ASSET_CERT_B"}


def test_the_runners_own_names_win() -> None:
    delivery = Delivery({"KLANGO_ASSET_A_B": b"value", "PATH": b"/hostile"}, {}, ())
    assert parsed(encode({"PATH": "/usr/bin"}, delivery)) == {b"KLANGO_ASSET_A_B": b"value", b"PATH": b"/usr/bin"}


def test_a_value_with_line_ends_and_equal_signs_arrives_whole() -> None:
    value = b"a=b\nPATH=/hostile\r\n=\xff"
    assert parsed(encode({}, deliver({asset("A.B"): Secret(value)}))) == {b"KLANGO_ASSET_A_B": value}


def test_files_are_private_and_never_written_over(folders: Folders) -> None:
    delivery = deliver({asset("A.B"): Secret(b"\0")})
    write_files(folders, delivery, parameters={"name": "ü", "list": [1, None]})
    for path in folders.assets.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(folders.parameters.read_bytes()) == {"name": "ü", "list": [1, None]}
    assert (folders.assets / "A.B").read_bytes() == b"\0"
    with pytest.raises(FileExistsError):
        write_files(folders, delivery, parameters={})


def test_a_link_in_the_way_is_not_followed(folders: Folders, tmp_path: Path) -> None:
    (folders.assets / "A.B").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        write_files(folders, deliver({asset("A.B"): Secret(b"\0")}), parameters={})
    assert not (tmp_path / "elsewhere").exists()


def test_a_delivery_shows_no_value() -> None:
    assert "canary" not in repr(deliver({asset("A.B"): Secret(b"canary"), asset("A.C"): Secret(b"canary\0")}))
