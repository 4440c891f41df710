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
    # Signing in: for whoever is not yet known; each form is taken from our own pages only.
    ("GET", "/sign-in"): None,
    ("POST", "/sign-in"): None,
    ("GET", "/sign-in/link"): None,
    ("POST", "/sign-in/link"): None,
    ("GET", "/sign-in/openid"): None,
    ("GET", "/sign-in/openid/callback"): None,
    # One's own account
    ("POST", "/sign-out"): ("viewer", "session.ended"),
    ("GET", "/account"): ("viewer", "account.shown"),
    ("POST", "/account/password"): ("viewer", "user.password_set"),
    ("POST", "/account/totp"): ("viewer", "user.totp_set"),
    ("POST", "/account/totp/removal"): ("viewer", "user.totp_removed"),
    ("POST", "/account/sessions/{session_id}/removal"): ("viewer", "session.ended"),
    ("POST", "/account/sessions/removal"): ("viewer", "session.ended"),
    ("POST", "/account/workspace"): ("viewer", "session.switched"),
    # Users, tokens, workspaces, permissions
    ("GET", "/users"): ("admin", "user.listed"),
    ("POST", "/users"): ("admin", "user.added"),
    ("POST", "/users/{name}/role"): ("admin", "user.changed"),
    ("POST", "/users/{name}/links"): ("admin", "user.link_made"),
    ("POST", "/users/{name}/totp/removal"): ("admin", "user.totp_removed"),
    ("POST", "/users/{name}/removal"): ("admin", "user.removed"),
    ("GET", "/tokens"): ("admin", "token.listed"),
    ("POST", "/tokens"): ("admin", "token.created"),
    ("POST", "/tokens/{name}/removal"): ("admin", "token.removed"),
    ("GET", "/workspaces"): ("viewer", "workspace.listed"),
    ("POST", "/workspaces"): ("admin", "workspace.added"),
    ("GET", "/audit"): ("admin", "audit.listed"),
    ("GET", "/audit/export"): ("admin", "audit.exported"),
    ("GET", "/permissions"): ("viewer", "permission.listed"),
}
