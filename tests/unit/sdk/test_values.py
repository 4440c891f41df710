"""The SDK's values, against the runner's own delivery and its own endpoint."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import botkeep
import pytest

from runner.worker.endpoint import Endpoint
from runner.worker.environment import deliver
from runner.worker.grant import Grant, NotSeen
from runner.worker.requested import TooMuch
from vault.decrypt import Secret
from vault.names import AssetName

#: A value that no error, no `repr` and no traceback may show.
CANARY = "pa55-W0RD-of-the-canary"


def reading(values: Mapping[AssetName, Secret | None]) -> Callable[[AssetName], Secret | None]:
    """How a runner reads: what the bot does not see is refused."""

    def read(name: AssetName) -> Secret | None:
        if name not in values:
            raise NotSeen(f"This bot sees no asset {name}.")
        return values[name]

    return read


class Host:
    """Stands where the runner stands: delivers values into this process's environment, and answers."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.endpoint = Endpoint()
        self.endpoint.start()
        self.token = ""
        self.masked: list[bytes] = []

    def serve(self, values: Mapping[str, bytes | None]) -> None:
        """Answers for these assets, as for a job of its own; `None` is an unset value."""
        named = {AssetName.parse(name): None if value is None else Secret(value) for name, value in values.items()}
        self.token = self.endpoint.admit(Grant(names=lambda: tuple(named), read=reading(named), mask=self.mask))
        self.monkeypatch.setenv("BOTKEEP_ENDPOINT", self.endpoint.url)
        self.monkeypatch.setenv("BOTKEEP_TOKEN", self.token)

    def mask(self, value: bytes) -> bool:
        """What the runner does with a value that the bot names."""
        if len(self.masked) == 2:
            raise TooMuch("This job named enough values.")
        self.masked.append(value)
        return len(value) >= 4

    def start_bot(self, values: Mapping[str, bytes | None], *, files: tuple[str, ...] = ()) -> None:
        """Delivers these assets as a bot finds them at its start."""
        self.serve(values)
        named = {AssetName.parse(name): None if value is None else Secret(value) for name, value in values.items()}
        delivery = deliver(named, files=files)
        for variable, value in delivery.variables.items():
            self.monkeypatch.setenv(variable, os.fsdecode(value))
        self.monkeypatch.setenv("BOTKEEP_ASSET_DIR", str(self.folder))
        for name, value in delivery.files.items():
            (self.folder / str(name)).write_bytes(value)

    def ask_nobody(self) -> None:
        """From now on the endpoint does not answer."""
        self.endpoint.close()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    made = Host(tmp_path, monkeypatch)
    yield made
    made.endpoint.close()


def test_a_delivered_value_is_read_without_asking_the_runner(host: Host) -> None:
    host.start_bot({"SAP.PASSWORD": CANARY.encode()})
    host.ask_nobody()
    assert botkeep.assets["SAP.PASSWORD"] == CANARY


@pytest.mark.parametrize("name", ["SAP.PASSWORD", "sap.password", "Sap.PassWord"])
def test_a_name_is_found_in_any_case(host: Host, name: str) -> None:
    host.start_bot({"SAP.PASSWORD": b"found"})
    assert botkeep.assets[name] == "found"


def test_a_value_that_fits_no_variable_is_read_from_its_file(host: Host) -> None:
    host.start_bot({"DB.CERTIFICATE": b"\0\xff\x00 not text"})
    host.ask_nobody()
    assert botkeep.asset_bytes("DB.CERTIFICATE") == b"\0\xff\x00 not text"


def test_a_large_value_is_text_all_the_same(host: Host) -> None:
    host.start_bot({"DB.CERTIFICATE": b"x" * 200_000})
    assert botkeep.assets["DB.CERTIFICATE"] == "x" * 200_000


def test_a_value_that_was_not_delivered_comes_from_the_endpoint(host: Host) -> None:
    host.serve({"SAP.PASSWORD": CANARY.encode()})
    assert botkeep.assets["SAP.PASSWORD"] == CANARY


def test_bytes_of_a_variable_are_the_stored_ones_even_if_they_are_no_text(host: Host) -> None:
    host.start_bot({"SAP.BLOB": b"\xff\xfe"})
    host.ask_nobody()
    assert botkeep.asset_bytes("SAP.BLOB") == b"\xff\xfe"


def test_bytes_that_are_no_text_are_refused_as_text_without_being_shown(host: Host) -> None:
    host.start_bot({"SAP.BLOB": CANARY.encode() + b"\xff"})
    with pytest.raises(botkeep.NotText, match=r"SAP\.BLOB.*asset_bytes") as caught:
        botkeep.assets["SAP.BLOB"]
    assert_shows_nothing(caught.value)


def test_an_empty_value_is_an_empty_text(host: Host) -> None:
    host.start_bot({"SAP.SUFFIX": b""})
    assert botkeep.assets["SAP.SUFFIX"] == ""


def test_an_unset_value_is_told_from_an_empty_one(host: Host) -> None:
    host.start_bot({"SAP.SUFFIX": None})
    assert os.environ["KLANGO_ASSET_SAP_SUFFIX"] == ""
    with pytest.raises(botkeep.NoValue, match=r"SAP\.SUFFIX has no value"):
        botkeep.assets["SAP.SUFFIX"]


def test_an_empty_variable_counts_where_there_is_no_runner_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLANGO_ASSET_SAP_SUFFIX", "")
    assert botkeep.assets["SAP.SUFFIX"] == ""


def test_an_unknown_name_is_refused_with_the_near_ones(host: Host) -> None:
    host.start_bot({"SAP.PASSWORD": CANARY.encode(), "MAIL.USER": b"robot"})
    with pytest.raises(botkeep.UnknownAsset) as caught:
        botkeep.assets["SAP.PASWORD"]
    assert "no asset SAP.PASWORD. Did you mean SAP.PASSWORD?" in str(caught.value)
    assert "MAIL.USER" not in str(caught.value)
    assert_shows_nothing(caught.value)


@pytest.mark.parametrize(
    "name", ["", "SAP", "SAP.", ".PASSWORD", "A.B.C", "SAP.A-B", "SAP.П", "../etc/passwd", "A/B.C"]
)
def test_what_cannot_be_a_name_is_refused_without_asking(host: Host, name: str) -> None:
    host.start_bot({})
    host.ask_nobody()
    with pytest.raises(botkeep.UnknownAsset, match=r"write GROUP\.NAME"):
        botkeep.assets[name]


def test_a_runner_that_is_gone_is_an_error_of_its_own(host: Host) -> None:
    host.serve({"SAP.PASSWORD": CANARY.encode()})
    host.ask_nobody()
    with pytest.raises(botkeep.EndpointUnreachable, match="does not answer"):
        botkeep.assets["SAP.PASSWORD"]


def test_an_attempt_that_ended_is_not_answered_any_more(host: Host) -> None:
    host.serve({"SAP.PASSWORD": CANARY.encode()})
    host.endpoint.revoke(host.token)
    with pytest.raises(botkeep.EndpointUnreachable, match="token ended"):
        botkeep.assets["SAP.PASSWORD"]


def test_a_program_that_nobody_started_says_so() -> None:
    with pytest.raises(botkeep.EndpointUnreachable, match="not started by Botkeep"):
        botkeep.assets["SAP.PASSWORD"]


@pytest.mark.parametrize(
    "address", ["http://192.0.2.1:80", "http://127.0.0.1.example.com:80", "http://127.0.0.1", "http://[", "botkeep"]
)
def test_the_token_is_sent_to_this_machine_only(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("BOTKEEP_ENDPOINT", address)
    with pytest.raises(botkeep.EndpointUnreachable, match="nothing was sent"):
        botkeep.assets["SAP.PASSWORD"]


def test_a_proxy_of_the_environment_is_passed_by(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.serve({"SAP.PASSWORD": b"direct"})
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:1")
    assert botkeep.assets["SAP.PASSWORD"] == "direct"


def test_get_secret_takes_a_plain_name_as_a_global_asset(host: Host) -> None:
    host.start_bot({"GLOBAL.SAP_USER": b"robot", "SAP.PASSWORD": CANARY.encode()})
    assert botkeep.get_secret("SAP_USER") == "robot"
    assert botkeep.get_secret("SAP.PASSWORD") == CANARY


def test_assets_are_asked_like_a_dictionary(host: Host) -> None:
    host.start_bot({"SAP.PASSWORD": CANARY.encode(), "MAIL.USER": None})
    assert list(botkeep.assets) == ["MAIL.USER", "SAP.PASSWORD"]
    assert len(botkeep.assets) == 2
    assert "sap.password" in botkeep.assets
    assert "MAIL.USER" in botkeep.assets
    assert "SAP.USER" not in botkeep.assets
    assert "no name" not in botkeep.assets
    assert botkeep.assets.get("SAP.PASSWORD") == CANARY
    assert botkeep.assets.get("SAP.USER", "nobody") == "nobody"
    assert botkeep.assets.get("MAIL.USER") is None
    with pytest.raises(KeyError):
        botkeep.assets["SAP.USER"]


def test_showing_the_assets_shows_no_value(host: Host) -> None:
    host.start_bot({"SAP.PASSWORD": CANARY.encode()})
    assert CANARY not in f"{botkeep.assets!r} {botkeep.assets} {vars(botkeep)}"


def assert_shows_nothing(error: BaseException) -> None:
    """The canary is neither in the error nor in anything that hangs on it."""
    seen: BaseException | None = error
    while seen is not None:
        assert CANARY not in f"{seen} {seen!r} {seen.args} {vars(seen)}"
        assert not isinstance(seen, UnicodeDecodeError)
        seen = seen.__cause__ or seen.__context__


def test_a_value_that_the_bot_names_reaches_the_runner_s_masker(host: Host) -> None:
    host.serve({})
    assert botkeep.mask("session-tökén")
    assert not botkeep.mask(b"\xff\0")
    assert host.masked == ["session-tökén".encode(), b"\xff\0"]
    with pytest.raises(botkeep.MaskRefused, match="named enough"):
        botkeep.mask("one more")


def test_a_value_too_large_to_be_masked_is_refused_and_not_shown(host: Host) -> None:
    host.serve({})
    with pytest.raises(botkeep.MaskRefused, match="at most") as caught:
        botkeep.mask(CANARY * 1_000)
    assert CANARY not in str(caught.value)
    assert host.masked == []


def test_masking_without_a_runner_is_nothing_and_says_so(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BOTKEEP_ENDPOINT", raising=False)
    assert not botkeep.mask(CANARY)
    with pytest.raises(TypeError, match="not int"):
        botkeep.mask(4711)  # type: ignore[arg-type]
    host.serve({})
    host.ask_nobody()
    with pytest.raises(botkeep.EndpointUnreachable):
        botkeep.mask(CANARY)


def test_an_ended_attempt_masks_nothing(host: Host) -> None:
    host.serve({})
    host.endpoint.revoke(host.token)
    with pytest.raises(botkeep.EndpointUnreachable, match="does not answer this attempt"):
        botkeep.mask(CANARY)
