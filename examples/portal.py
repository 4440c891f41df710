"""A small web service for the examples: `python examples/portal.py REPORTS < accounts.json`.

It has a site for each environment, and every site has a password and an API key of its own:

    {"dev": {"password": "...", "key": "..."}, "staging": {...}, "prod": {...}}

    GET  /SITE/account             who is signed in                   (HTTP Basic, user robot)
    POST /SITE/reports             file a report, a JSON object       (HTTP Basic, user robot)
    GET  /SITE/rates?base=EUR      exchange rates, as decimal texts   (X-Api-Key)

Promises that a site takes its own credentials only, and that a filed report is a file below REPORTS/SITE. It
listens on a free loopback port, which the first line of its output names. Refuses to be more than an example:
there is no TLS, and nothing is kept but the reports.
"""

import argparse
import base64
import hmac
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

USER = "robot"
RATES = {"EUR": {"CHF": "0.9377", "GBP": "0.8432", "USD": "1.0841"}}

#: Bytes of a report; a real one has a few hundred.
LARGEST_REPORT = 65_536


class Portal(ThreadingHTTPServer):
    """The sites with their accounts, and the folder of what was filed."""

    daemon_threads = True

    def __init__(self, accounts: dict[str, dict[str, str]], reports: Path) -> None:
        super().__init__(("127.0.0.1", 0), Visit)
        self.accounts = accounts
        self.reports = reports

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def file(self, site: str, report: dict[str, Any]) -> str:
        """Keeps a report; returns the name of its file."""
        folder = self.reports / site
        folder.mkdir(parents=True, exist_ok=True)
        number = sum(1 for _ in folder.iterdir()) + 1
        path = folder / f"{number:04}.json"
        with path.open("x", encoding="utf-8") as file:
            json.dump(report, file, indent=2)
        return path.name


class Visit(BaseHTTPRequestHandler):
    """One request."""

    server: Portal
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_GET(self) -> None:
        """Shows the account or the rates."""
        address = urlsplit(self.path)
        match address.path.split("/"):
            case ["", site, "account"] if self.signed_in(site):
                self.answer(200, {"site": site, "user": USER})
            case ["", site, "rates"] if self.has_key(site):
                base = parse_qs(address.query).get("base", ["EUR"])[0]
                if base in RATES:
                    self.answer(200, {"base": base, "rates": RATES[base]})
                else:
                    self.answer(404, {"error": f"There are no rates for {base!a}."})
            case ["", _, "account" | "rates"]:
                self.answer(401, {"error": "These credentials are not this site's."})
            case _:
                self.answer(404, {"error": "There is no such page."})

    def do_POST(self) -> None:
        """Files a report."""
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), LARGEST_REPORT))
        match self.path.split("/"):
            case ["", site, "reports"] if self.signed_in(site):
                report = json.loads(body)
                self.answer(201, {"filed": self.server.file(site, {"site": site, "filed_by": USER, **report})})
            case ["", _, "reports"]:
                self.answer(401, {"error": "These credentials are not this site's."})
            case _:
                self.answer(404, {"error": "There is no such page."})

    def signed_in(self, site: str) -> bool:
        """Whether the request carries the site's own user and password."""
        expected = f"{USER}:{self.server.accounts[site]['password']}" if site in self.server.accounts else None
        return self.matches("Authorization", expected and f"Basic {base64.b64encode(expected.encode()).decode()}")

    def has_key(self, site: str) -> bool:
        """Whether the request carries the site's own API key."""
        return self.matches("X-Api-Key", self.server.accounts.get(site, {}).get("key"))

    def matches(self, header: str, expected: str | None) -> bool:
        """Whether a header has the expected text; compared in constant time."""
        given = self.headers.get(header, "")
        return expected is not None and hmac.compare_digest(given.encode(), expected.encode())

    def answer(self, status: int, content: dict[str, Any]) -> None:
        """Sends JSON."""
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name in the base class
        """Requests are not logged."""


def main() -> None:
    """Serves until it is stopped, or until nobody holds the other end of its output."""
    parser = argparse.ArgumentParser(description="The web service of the examples; accounts come from stdin.")
    parser.add_argument("reports", type=Path, help="folder for the filed reports")
    arguments = parser.parse_args()
    portal = Portal(json.load(sys.stdin), arguments.reports)
    print(f"The portal is ready at {portal.url}", flush=True)
    portal.serve_forever()


if __name__ == "__main__":
    main()
