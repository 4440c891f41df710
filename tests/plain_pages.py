"""Pages of a test's console, read and posted as a browser does it: forms are sent as they stand on the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx

from tests import markup
from tests.api import Api
from tests.markup import Element


@dataclass(frozen=True, slots=True)
class Pages:
    """A visitor without scripts; `client` is who it is."""

    api: Api
    client: httpx.Client

    @classmethod
    def of(cls, api: Api) -> "Pages":
        """A visitor with every right."""
        return cls(api, api.client)

    def see(self, path: str, *, status: int = 200) -> Element:
        """A page, which must be well nested."""
        answer = self.client.get(path, headers={"Accept": "text/html"}, follow_redirects=True)
        assert answer.status_code == status, said(answer)
        return markup.read(answer.text)

    def post(self, path: str, given: Mapping[str, str | Sequence[str]] | None = None) -> httpx.Response:
        """The answer to a form of these fields."""
        return self.client.post(path, data=dict(given or {}), headers={"Accept": "text/html"})

    def done(self, path: str, given: Mapping[str, str | Sequence[str]] | None = None) -> tuple[str, Element]:
        """Where a form that was taken leads, and that page with its notice."""
        answer = self.post(path, given)
        assert answer.status_code == 303, said(answer)
        return answer.headers["location"], self.see(answer.headers["location"])

    def refused(self, path: str, given: Mapping[str, str | Sequence[str]], *, status: int = 422) -> Element:
        """The form again, as it is shown when it was refused."""
        answer = self.post(path, given)
        assert answer.status_code == status, said(answer)
        return markup.read(answer.text)


def wrong(page: Element) -> dict[str, str]:
    """The sentences of a refused form by their fields; those of the whole form under an empty name."""
    found = {}
    for field in page.every("div", "field-bad"):
        named = [each for each in field.walk() if each.tag in {"input", "textarea", "select"}]
        found[named[0]["name"]] = field.one("span", "wrong").text
    loose = page.every("div", "notice-bad")
    return found | ({"": loose[0].text} if loose else {})


def said(answer: httpx.Response) -> str:
    """What a page says, for a test that failed."""
    return f"{answer.status_code}: {markup.read(answer.text).text[:1500]}"
