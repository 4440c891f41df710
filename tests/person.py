"""A person with a browser: signs in, keeps cookies, sends forms as a browser sends them."""

import re
from dataclasses import dataclass
from html import unescape

import httpx

from tests.api import Api

PASSWORD = "four quiet words here"


@dataclass(slots=True)
class Person:
    """A browser that is signed in, or not yet; `csrf` is the token of its session."""

    client: httpx.Client
    csrf: str = ""

    @classmethod
    def new(cls, api: Api, **headers: str) -> "Person":
        """A fresh browser."""
        client = api.as_token(None)
        client.headers.update({"Accept": "text/html", **headers})
        return cls(client)

    @classmethod
    def added(cls, api: Api, name: str, role: str, *, admin: httpx.Client | None = None, **narrowed: str) -> "Person":
        """A new user of the workspace, signed in by a link."""
        asker = admin or api.client
        answer = asker.post("/api/v1/users", json={"name": name, "role": role, "narrowed": narrowed})
        assert answer.status_code == 201, answer.text
        link = asker.post(f"/api/v1/users/{name}/links").json()["url"]
        person = cls.new(api)
        assert person.use(link).status_code == 303
        person.learn()
        return person

    def use(self, link: str) -> httpx.Response:
        """Press the button of a sign-in link."""
        token = httpx.URL(link).params["token"]
        return self.post("/sign-in/link", token=token)

    def sign_in(self, name: str, password: str = PASSWORD, **more: str) -> httpx.Response:
        """Send the form, and learn the session's token where it was taken."""
        answer = self.post("/sign-in", name=name, password=password, **more)
        if answer.status_code == 303:
            self.learn()
        return answer

    def learn(self) -> None:
        """Read the session's token from a page."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.client.get("/account").text)
        assert found
        self.csrf = unescape(found[1])

    def post(self, path: str, **fields: str) -> httpx.Response:
        """Send a form of our own page."""
        given = {"csrf": self.csrf, **fields}
        return self.client.post(path, data=given, headers={"Origin": str(self.client.base_url).rstrip("/")})
