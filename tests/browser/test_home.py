"""Home in a browser: what a first visitor sees, on a desk and on a phone, by keyboard and without scripts."""

from pathlib import Path

from tests.api import serving
from tests.browser import Visitor, fits, grave_faults
from tests.support import Stores


def test_home_says_what_to_do_and_keeps_nobody_out(stores: Stores, tmp_path: Path, visitor: Visitor) -> None:
    with serving(stores, tmp_path) as api:
        token = api.client.headers["Authorization"].removeprefix("Bearer ")
        for phone, scheme in ((False, "light"), (True, "dark")):
            page = visitor.open(api.url, token=token, phone=phone, scheme=scheme)  # type: ignore[arg-type]
            page.goto("/")
            assert page.get_by_role("heading", name="Nothing runs now").is_visible()
            assert fits(page)
            assert grave_faults(page) == []
