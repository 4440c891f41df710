"""Pages for tests without a browser: opened, their forms sent as a browser without scripts does, read as elements.

Promises that every page that was seen is well-formed, kept by nobody, under the pages' policy, and remembered, so
that a test can look for what must be in none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from tests.markup import Element, read

POLICY = "script-src 'self'; style-src 'self'"


@dataclass(slots=True)
class Pages:
    """What one caller sees; `seen` is the text of every answer so far."""

    client: httpx.Client
    seen: list[str] = field(default_factory=list)

    def get(self, path: str, *, status: int = 200) -> Element:
        """The page at this address."""
        return self._page(self.client.get(path), status)

    def post(
        self,
        page: Element,
        action: str,
        *,
        status: int = 303,
        files: Mapping[str, tuple[str, bytes]] | None = None,
        **fields: str,
    ) -> Element:
        """The page that follows the form of `page` with this action; fields are those it has, changed by `fields`.

        A field's name is written with `_` for `-`. The form is sent as its `enctype` says.
        """
        form = page.one("form", action=action)
        names = {each.attributes["name"] for each in form.walk() if "name" in each.attributes}
        given = {name if name in names else name.replace("_", "-"): value for name, value in fields.items()}
        assert set(given) | set(files or {}) <= names, (set(given) | set(files or {})) - names
        sent = {name: value for name, value in {**page.form(action), **given}.items() if name not in (files or {})}
        if form.attributes.get("enctype") == "multipart/form-data":
            parts = {name: (None, value.encode()) for name, value in sent.items()}
            answer = self.client.post(action, files={**parts, **(files or {})})
        else:
            answer = self.client.post(action, data=sent)
        if status == 303:
            assert answer.status_code == 303, (answer.status_code, read(answer.text).text)
            return self.get(answer.headers["location"])
        return self._page(answer, status)

    def _page(self, answer: httpx.Response, status: int) -> Element:
        self.seen.append(answer.text + str(answer.headers))
        assert answer.status_code == status, (answer.status_code, re.sub(r"<[^>]+>|\s+", " ", answer.text)[-1500:])
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert POLICY in answer.headers["content-security-policy"]
        return read(answer.text)


def notice(page: Element) -> str:
    """The sentence that a page shows once, about what was done before."""
    return page.one(id="notice").text
