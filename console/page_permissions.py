"""Who may see which page and post which form, as data: role and action of each route, merged into `permissions`.

A page needs what the request of the HTTP API needs that does the same, and its action is the same one in the audit.
"""

from __future__ import annotations

#: Least role and action by method and path; `None` asks for nobody.
PAGES: dict[tuple[str, str], tuple[str, str] | None] = {
    # What pages are made of: the same files for everybody.
    ("GET", "/static/{digest}/{name}"): None,
    ("GET", "/favicon.ico"): None,
    # Home
    ("GET", "/"): ("viewer", "job.listed"),
    ("GET", "/home/now"): ("viewer", "job.listed"),
}
