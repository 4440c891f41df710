"""Bad input, and rows, files and packages that somebody changed: a clear sentence each, and nothing decrypted."""

import json
import uuid
from typing import Any

import pytest
from sqlalchemy import select, update

from runner.models import Job, PackageBlob, PackageVersion
from tests.api import zipped
from tests.system import PARKED, System, digest
from vault.models import Asset, AssetValue, CurrentValue, Reading
from vault.names import ENVIRONMENTS

pytestmark = pytest.mark.timeout(240)


def sentence(
    system: System, asset: str, value: bytes | str = "value-1", environment: str = "dev", bot: str | None = None
) -> tuple[int, str]:
    """Status and message of a value that is refused."""
    answer = system.put_value(asset, value, environment, bot=bot)
    assert answer.status_code >= 400, answer.text
    return answer.status_code, str(answer.json()["error"]["message"])


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("A-B/C", "group"),
        ("A%20B/C", "group"),
        ("A%0A/C", "group"),
        ("A/C%0A", "name"),
        ("%D0%9F%D0%90%D0%A0/C", "group"),
        ("A/%D0%9F", "name"),
        ("A/%7B%7B", "name"),
        ("A/B.C", "name"),
        ("A" * 256 + "/C", "group"),
        ("A/" + "C" * 129, "name"),
    ],
)
def test_a_name_of_other_letters_is_refused_before_anything_is_stored(system: System, path: str, what: str) -> None:
    answer = system.client.put(f"/api/v1/assets/{path}/values/dev", content=b"value-1")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid")
    assert f"the {what} of an asset" in answer.json()["error"]["message"]
    assert system.client.get("/api/v1/assets").json()["items"] == []


def test_an_empty_group_or_name_is_no_address(system: System) -> None:
    for path in ("/NAME", "GROUP/", "%20/NAME"):
        assert system.client.put(f"/api/v1/assets/{path}/values/dev", content=b"x").status_code in {404, 405, 422}
    assert system.client.get("/api/v1/assets").json()["items"] == []


@pytest.mark.parametrize(
    ("one", "other", "variable"),
    [
        ("A_B.C", "A.B_C", "KLANGO_ASSET_A_B_C"),
        ("GLOBAL.ASSET_X_Y", "X.Y", "KLANGO_ASSET_X_Y"),
        ("GLOBAL.X_Y", "GLOBAL_X.Y", "KLANGO_ASSET_GLOBAL_X_Y"),
        ("a_b.c", "A.b_C", "KLANGO_ASSET_A_B_C"),
    ],
)
def test_two_assets_of_one_variable_are_refused_in_both_orders_naming_both(
    system: System, one: str, other: str, variable: str
) -> None:
    for first, second in ((one, other), (other, one)):
        system.set_value(first, "value-1")
        status, message = sentence(system, second, environment="prod")
        assert status == 409
        for part in (variable, first.upper(), second.upper()):
            assert part in message
        group, name = first.split(".")
        assert system.client.delete(f"/api/v1/assets/{group}/{name}").status_code == 204


@pytest.mark.parametrize(("first", "second"), [("one", None), (None, "one")])
def test_a_bots_own_asset_collides_with_the_workspaces_too(
    system: System, first: str | None, second: str | None
) -> None:
    system.add_bot("one")
    system.add_bot("two")
    system.set_value("A_B.C", "value-1", bot=first)
    for scope in (first, second, "two"):
        status, message = sentence(system, "A.B_C", bot=scope)
        assert (status, "A_B.C" in message, "A.B_C" in message) == (409, True, True)
        assert ("A_B.C of the bot one." in message) == (first == "one"), message
    assert system.set_value("A_B.C", "value-2", bot=second)["number"] == 1, "the same pair is the override"


def test_a_variable_is_free_again_when_its_last_owner_is_gone(system: System) -> None:
    system.add_bot("one")
    system.set_value("A_B.C", "value-1")
    system.set_value("A_B.C", "value-2", bot="one")
    assert system.client.delete("/api/v1/assets/A_B/C").status_code == 204
    assert sentence(system, "A.B_C")[0] == 409
    assert system.client.delete("/api/v1/assets/A_B/C?bot=one").status_code == 204
    assert system.set_value("A.B_C", "value-3")["number"] == 1


@pytest.mark.parametrize("name", ["JOB_ID", "ENVIRONMENT", "api_key", "Token", "WORKSPACE"])
def test_a_name_that_the_runner_sets_itself_is_refused(system: System, name: str) -> None:
    status, message = sentence(system, f"GLOBAL.{name}")
    assert (status, "the runner" in message, f"KLANGO_{name.upper()}" in message) == (409, True, True)


SHOWS_DELIVERY = """
import hashlib, json, os, pathlib
import botkeep
folder = pathlib.Path(os.environ["BOTKEEP_ASSET_DIR"])
sdk = {name: hashlib.sha256(botkeep.asset_bytes(name)).hexdigest() for name in botkeep.assets}
found = [path for path in folder.iterdir() if path.name != "parameters.json"]
files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
print(json.dumps([sorted(name for name in os.environ if name.startswith("KLANGO_")), files, sdk]))
"""


@pytest.mark.parametrize(
    ("value", "words"),
    [(b"a\0b" * 50, "NUL byte"), (b"x" * 131_072, "128 KiB"), (b"\xff\xfe\x00" * 90_000, "NUL byte")],
)
def test_a_value_that_no_variable_can_carry_is_said_so_and_delivered_by_file_and_sdk(
    system: System, value: bytes, words: str
) -> None:
    system.add_bot(source=SHOWS_DELIVERY)
    warnings = system.set_value("BIG.VALUE", value)["warnings"]
    assert any(words in warning and "SDK or as a file" in warning for warning in warnings)
    job = system.run()
    assert job["state"] == "succeeded", system.log(job["id"])
    variables, files, sdk = json.loads(system.log(job["id"], "stdout")[0])
    assert variables == []
    assert files == sdk == {"BIG.VALUE": digest(value)}
    assert any("BIG.VALUE" in warning and "no environment variable" in warning for warning in job["warnings"])


def test_any_bytes_arrive_as_they_were_given(system: System) -> None:
    system.add_bot()
    values = {"U.EMOJI": "pässwörd-🔑\n".encode(), "U.BYTES": bytes(range(1, 256)), "U.SPACES": b"  a\r\n b  "}
    for name, value in values.items():
        system.set_value(name, value)
    told = system.told(system.run())
    assert told["values"] == {f"KLANGO_ASSET_{name.replace('.', '_')}": digest(v) for name, v in values.items()}


def test_a_value_over_the_largest_size_is_refused_and_nothing_stored(system: System) -> None:
    status, message = sentence(system, "BIG.VALUE", b"x" * (1024 * 1024 + 1))
    assert status in {413, 422}
    assert message
    assert system.client.get("/api/v1/assets").json()["items"] == []


def test_whatever_is_unknown_names_itself(system: System) -> None:
    system.add_bot()
    refusals: tuple[tuple[int, str, dict[str, Any]], ...] = (
        (404, "'nobody'", {"bot": "nobody"}),
        (422, "'live'", {"environment": "live"}),
        (422, "'Dev'", {"environment": "Dev"}),
        (422, "{{ASSET.NO.SUCH}}", {"parameters": {"P": "x {{ASSET.NO.SUCH}}"}}),
        (422, "NO.SUCH", {"parameters": {"P": ["secret://NO/SUCH"]}}),
        (422, "GLOBAL.NOTHING", {"parameters": {"P": "secret://NOTHING"}}),
        (422, "{{ASSET.NO}}", {"parameters": {"P": "{{ASSET.NO}}"}}),
        (422, "{{ ASSET.A.B", {"parameters": {"P": "{{ ASSET.A.B }}"}}),
        (422, "secret://A/B/C", {"parameters": {"P": "secret://A/B/C"}}),
        (422, "'elsewhere'", {"parameters": {"P": "roboto-secret://KEY@elsewhere"}}),
        (422, "'a b'", {"group": "a b"}),
    )
    for expected, words, order in refusals:
        status, message = system.refused(**{"bot": "tells", **order})
        assert (status, words in message) == (expected, True), (order, message)
    status, message = sentence(system, "A.B", environment="live")
    assert (status, "'live'" in message) == (422, True)
    status, message = sentence(system, "A.B", bot="nobody")
    assert (status, "'nobody'" in message) == (404, True)
    assert system.client.get("/api/v1/jobs", params={"bot": "tells", "state": "queued"}).json()["items"] == []


def test_a_reference_to_an_undeclared_asset_is_denied(system: System) -> None:
    system.add_bot(toml='assets = ["SAP.*"]\n')
    system.set_value("SAP.USER", "value-1")
    system.set_value("DB.PASSWORD", "value-2")
    status, message = system.refused(parameters={"P": "{{ASSET.DB.PASSWORD}}"})
    assert (status, "DB.PASSWORD" in message, "declare" in message) == (422, True, True)


def test_an_undeclared_reference_is_denied_on_the_runner_too(system: System) -> None:
    system.add_bot(toml='assets = ["SAP.*"]\n')
    system.set_value("SAP.USER", "value-1")
    system.set_value("DB.PASSWORD", "value-2")
    job_id = system.enqueue(group=PARKED, parameters={"P": "x"})
    with system.edit() as session:
        changed = {"P": "{{ASSET.DB.PASSWORD}}"}
        session.execute(update(Job).where(Job.id == uuid.UUID(job_id)).values(parameters=changed))
    system.release(job_id)
    job = system.wait_for(job_id)
    assert (job["state"], job["reason"], job["readings"]) == ("failed", "asset_denied", [])
    assert "{{ASSET.DB.PASSWORD}}" in job["detail"]


@pytest.fixture
def filled(system: System) -> System:
    """A system with a bot and values in every environment; its own assets lie in group SAP."""
    system.add_bot(toml='assets = ["SAP.*"]\n')
    for name in ("PASSWORD", "USER"):
        for environment in ENVIRONMENTS:
            system.set_value(f"SAP.{name}", f"{name}-of-{environment}", environment)
    return system


def sealed(system: System, name: str, environment: str = "dev", number: int = 1) -> bytes:
    with system.edit() as session:
        query = select(AssetValue.envelope).join(Asset, Asset.id == AssetValue.asset_id)
        where = (Asset.name == name, AssetValue.environment == environment, AssetValue.number == number)
        return bytes(session.execute(query.where(*where)).scalar_one())


def store(system: System, name: str, envelope: bytes, *, environment: str = "dev", number: int = 1) -> None:
    """Change one row by hand."""
    with system.edit() as session:
        asset_id = session.execute(select(Asset.id).where(Asset.name == name)).scalar_one()
        key = (AssetValue.asset_id == asset_id, AssetValue.environment == environment, AssetValue.number == number)
        session.execute(update(AssetValue).where(*key).values(envelope=envelope))


def assert_undecryptable(system: System, environment: str = "dev") -> None:
    job = system.run(environment=environment)
    assert (job["state"], job["reason"]) == ("failed", "undecryptable"), job
    assert [attempt["started_at"] for attempt in job["attempts"]] == [None], "the bot started"
    assert system.log(job["id"], "stdout") == []
    assert "of-" not in job["detail"]


def test_a_ciphertext_with_one_changed_bit_never_reaches_a_bot(filled: System) -> None:
    envelope = sealed(filled, "PASSWORD")
    for place in (0, 5, 20, len(envelope) // 2, len(envelope) - 1):
        changed = bytearray(envelope)
        changed[place] ^= 1
        store(filled, "PASSWORD", bytes(changed))
        assert_undecryptable(filled)
    store(filled, "PASSWORD", envelope)
    assert filled.run()["state"] == "succeeded"


@pytest.mark.parametrize("junk", [b"", b"x", b"\0" * 2000, b"PASSWORD-of-dev"])
def test_junk_in_place_of_a_ciphertext_never_reaches_a_bot(filled: System, junk: bytes) -> None:
    store(filled, "PASSWORD", junk)
    assert_undecryptable(filled)


def test_a_ciphertext_moved_to_another_asset_does_not_open(filled: System) -> None:
    one, other = sealed(filled, "PASSWORD"), sealed(filled, "USER")
    store(filled, "PASSWORD", other)
    store(filled, "USER", one)
    assert_undecryptable(filled)


def test_a_ciphertext_swapped_between_environments_does_not_open(filled: System) -> None:
    dev, prod = sealed(filled, "PASSWORD", "dev"), sealed(filled, "PASSWORD", "prod")
    store(filled, "PASSWORD", prod, environment="dev")
    store(filled, "PASSWORD", dev, environment="prod")
    assert_undecryptable(filled, "dev")
    assert_undecryptable(filled, "prod")


def test_an_older_ciphertext_under_a_newer_number_does_not_open(filled: System) -> None:
    filled.set_value("SAP.PASSWORD", "PASSWORD-new-of-dev")
    store(filled, "PASSWORD", sealed(filled, "PASSWORD"), number=2)
    assert_undecryptable(filled)


def test_an_asset_renamed_by_hand_does_not_open(filled: System) -> None:
    with filled.edit() as session:
        session.execute(update(Asset).where(Asset.name == "PASSWORD").values(name="RENAMED"))
    assert_undecryptable(filled)
    with filled.edit() as session:
        session.execute(update(Asset).where(Asset.name == "RENAMED").values(name="PASSWORD"))


@pytest.mark.parametrize("name", ["PASS-WORD", "PASSWORD\n", "PASSWORD=X", "PÄSSWORD", ""])
def test_a_row_with_a_name_that_saving_refuses_names_itself(filled: System, name: str) -> None:
    with filled.edit() as session:
        session.execute(update(Asset).where(Asset.name == "PASSWORD").values(name=name))
    job = filled.run()
    answer = filled.client.get("/api/v1/assets")
    with filled.edit() as session:
        session.execute(update(Asset).where(Asset.name == name).values(name="PASSWORD"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "damaged")
    assert (job["state"], job["reason"], job["readings"]) == ("failed", "undecryptable", []), job
    for said in (job["detail"], answer.json()["error"]["message"]):
        assert ascii(f"SAP.{name}") in said
        assert "changed by hand" in said


def test_a_workspace_value_given_to_a_bot_by_hand_does_not_open(filled: System) -> None:
    bot_id = uuid.UUID(filled.job(filled.run()["id"])["id"])
    with filled.edit() as session:
        bot_id = session.execute(select(Job.bot_id).where(Job.id == bot_id)).scalar_one()
        session.execute(update(Asset).where(Asset.name == "PASSWORD").values(bot_id=bot_id))
    assert_undecryptable(filled)


def test_a_number_that_points_nowhere_is_no_unset_value(filled: System) -> None:
    with filled.edit() as session:
        asset_id = session.execute(select(Asset.id).where(Asset.name == "PASSWORD")).scalar_one()
        key = (CurrentValue.asset_id == asset_id, CurrentValue.environment == "dev")
        session.execute(update(CurrentValue).where(*key).values(number=7))
    assert_undecryptable(filled)


def assert_tampered(system: System) -> None:
    job = system.run()
    assert (job["state"], job["reason"]) == ("failed", "package_tampered"), job
    assert job["readings"] == [], "a value was decrypted for a package that nobody registered"
    assert system.log(job["id"], "stdout") == []
    assert "register" in job["detail"]
    with system.edit() as session:
        assert session.scalar(select(Reading.job_id).where(Reading.job_id == uuid.UUID(job["id"]))) is None


def test_a_package_changed_in_the_database_is_not_started_and_costs_no_reading(filled: System) -> None:
    added = filled.add_bot(source=f"print('never cached on {filled.stores.name}')")
    with filled.edit() as session:
        content = session.scalar(select(PackageBlob.content).where(PackageBlob.digest == added["digest"]))
        assert content is not None
        changed = bytes(content).replace(b"never", b"NEVER")
        assert changed != bytes(content)
        session.execute(update(PackageBlob).where(PackageBlob.digest == added["digest"]).values(content=changed))
    assert_tampered(filled)
    with filled.edit() as session:  # the blob is shared by every bot with these files
        session.execute(update(PackageBlob).where(PackageBlob.digest == added["digest"]).values(content=content))
    assert filled.run()["state"] == "succeeded"


@pytest.mark.parametrize("change", ["byte", "whole", "empty"])
def test_a_package_changed_on_the_runner_is_not_started_and_costs_no_reading(filled: System, change: str) -> None:
    added = filled.add_bot(source=f"print('kept on the runner, {change}')")
    assert filled.run()["state"] == "succeeded"
    kept = filled.home / "packages" / f"{added['digest']}.zip"
    content = kept.read_bytes()
    other = filled.add_bot("other", "print('another package')")
    assert filled.run("other")["state"] == "succeeded"
    whole = (kept.parent / f"{other['digest']}.zip").read_bytes()
    kept.write_bytes({"byte": content.replace(b"kept", b"KEPT"), "whole": whole, "empty": b""}[change])
    assert_tampered(filled)
    kept.write_bytes(content)
    assert filled.run()["state"] == "succeeded"


def test_a_version_pointed_at_another_package_by_hand_gets_what_that_package_declares(filled: System) -> None:
    """What a bot may see is read from the verified bytes, never from the row beside them."""
    wide = filled.add_bot("wide", 'print("declares nothing")')
    narrow = filled.add_bot("narrow", 'print("declares one")', toml='assets = ["SAP.USER"]\n')
    assert wide["digest"] != narrow["digest"]
    with filled.edit() as session:
        row = session.execute(select(PackageVersion).where(PackageVersion.digest == narrow["digest"])).scalar_one()
        row.manifest = {**row.manifest, "assets": None}
    job = filled.run("narrow")
    assert [reading["asset"] for reading in job["readings"]] == ["SAP.USER"]


@pytest.mark.parametrize("broken", ["no-zip", "no-entry", "bad-toml"])
def test_a_package_that_can_never_run_is_refused_when_it_is_added(system: System, broken: str) -> None:
    content = {
        "no-zip": b"PK\x03\x04 this is no archive",
        "no-entry": zipped("print()", {"bot.toml": 'entry = "missing.py"\n'}),
        "bad-toml": zipped("print()", {"bot.toml": "timeout = 'soon'\n"}),
    }[broken]
    answer = system.client.post("/api/v1/bots", params={"name": "broken"}, content=content)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid")
    assert system.client.get("/api/v1/bots").json()["items"] == []
