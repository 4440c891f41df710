"""The second factor, from its picture to the loss of the authenticator: recovery codes, and an admin who helps."""

import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyotp
import pytest

from console import recovery, totp, users
from tests.api import Api, serving
from tests.markup import read
from tests.person import PASSWORD, Person
from tests.support import Stores
from vault import db
from vault.audit import Actor


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        yield running


def enrolled(api: Api) -> tuple[Person, list[str]]:
    """Somebody who has a password and has switched codes on, and their recovery codes."""
    person = Person.added(api, "anna", "dev")
    assert person.post("/account/password", value_password=PASSWORD).status_code == 303
    key = read(person.client.get("/account").text).one("input", name="key")["value"]
    step = int(api.console.now().timestamp()) // totp.STEP
    code = pyotp.TOTP(key).generate_otp(step - 1)
    return person, codes_of(person.post("/account/totp", key=key, value_proof=PASSWORD, value_code=code))


def codes_of(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 201, answer.text
    return [item.text for item in read(answer.text).one("ul", "codes").every("li")]


def test_the_key_comes_as_a_picture_that_the_policy_of_pages_allows(api: Api) -> None:
    person = Person.added(api, "anna", "dev")
    answer = person.client.get("/account")
    picture = read(answer.text).one("img", "qr")["src"]
    assert "img-src 'self' data:" in answer.headers["content-security-policy"]
    svg = urllib.parse.unquote(picture.removeprefix("data:image/svg+xml;charset=utf-8,"))
    assert svg.startswith("<svg xmlns='http://www.w3.org/2000/svg'")
    assert "script" not in svg
    assert "style=" not in svg
    key = read(answer.text).one("input", name="key")["value"]
    assert picture == totp.picture(key, "anna")
    assert picture != totp.picture(totp.propose(), "anna")
    # A refused form keeps the key, so that a code of the picture that was photographed works.
    refused = person.post("/account/totp", key=key, value_code="000000")
    assert refused.status_code == 422
    assert read(refused.text).one("img", "qr")["src"] == picture
    assert person.post("/account/totp", key='"><script>', value_code="000000").status_code == 422


def test_a_recovery_code_signs_in_once_in_place_of_the_authenticator(api: Api) -> None:
    person, codes = enrolled(api)
    assert len(set(codes)) == 10
    assert all(re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{5}-){3}[0-9A-HJKMNP-TV-Z]{5}", code) for code in codes)
    shown = person.client.get("/account").text
    assert "10 recovery codes left" in read(shown).text
    assert not any(code in shown for code in codes)
    with api.console.engine.connect() as connection:
        stored = str(connection.exec_driver_sql("SELECT * FROM recovery_codes").all())
    assert not any(code in stored or code.replace("-", "") in stored for code in codes)
    other = Person.new(api)
    assert other.sign_in("anna").status_code == 422
    assert other.sign_in("anna", code="00000-00000-00000-00000").status_code == 422
    assert other.sign_in("anna", "wrong", code=codes[0]).status_code == 422
    assert other.sign_in("anna", code=codes[0]).status_code == 303
    assert Person.new(api).sign_in("anna", code=codes[0]).status_code == 422
    written = codes[1].lower().replace("-", " ").replace("0", "o").replace("1", "l")
    assert Person.new(api).sign_in("anna", code=written).status_code == 303
    assert "8 recovery codes left" in read(person.client.get("/account").text).text
    used = [row for row in api.audit() if row["action"] == "user.recovery_code_used"]
    assert [(row["actor"], row["object"]) for row in used] == [("anna", "user anna")] * 2
    assert all(row["address"] for row in used)


def test_new_recovery_codes_end_the_ones_before_and_few_are_warned_of(api: Api) -> None:
    person, codes = enrolled(api)
    assert person.post("/account/recovery-codes", value_proof="wrong").status_code == 422
    fresh = codes_of(person.post("/account/recovery-codes", value_proof=PASSWORD))
    assert not set(fresh) & set(codes)
    assert Person.new(api).sign_in("anna", code=codes[0]).status_code == 422
    with db.writing(api.console.engine) as session:
        anna, actor = users.find(session, "anna"), Actor("anna")
        assert anna is not None
        assert all(recovery.accepts(session, anna, code, actor=actor, now=api.console.now()) for code in fresh[:7])
    assert "3 codes left for the loss" in read(person.client.get("/account").text).text
    assert person.post("/account/totp/removal", value_proof=PASSWORD).status_code == 303
    with api.console.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM recovery_codes").scalar_one() == 0
    assert person.post("/account/recovery-codes", value_proof=PASSWORD).status_code == 422


def test_an_admin_takes_the_authenticator_of_another_away_and_the_audit_says_so(api: Api) -> None:
    _person, codes = enrolled(api)
    boss = Person.added(api, "boss", "admin")
    assert boss.post("/users/anna/totp/removal").status_code == 303
    row = api.audit()[0]
    assert (row["actor"], row["action"], row["object"]) == ("boss", "user.totp_removed", "user anna")
    assert Person.new(api).sign_in("anna").status_code == 303
    with api.console.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM recovery_codes").scalar_one() == 0
    assert codes
