"""`botkeep user`: who belongs to the workspace, and how they sign in."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli import values
from cli.client import Item, connected, path_of
from cli.errors import Misused
from cli.options import AsJson, NarrowedIn, Role, narrowed
from cli.render import badge, moment, plain
from cli.screen import Column, Screen, screen, show_list

app = typer.Typer(help="Add, list and remove users, and let them sign in.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The user.")]
RoleOption = Annotated[Role, typer.Option("--role", help="What the user may do.")]


@app.command()
def add(
    name: NameArgument,
    *,
    role: RoleOption,
    lower: NarrowedIn = None,
    subject: Annotated[
        str | None, typer.Option("--subject", help="The user's `sub` at the OpenID provider of this installation.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let a person into the workspace; a new account has no password: make a link for it."""
    to = screen(as_json=as_json)
    body: Item = {"name": name, "role": role, "narrowed": narrowed(lower)}
    if subject:
        body["subject"] = subject
    with connected() as client:
        answer = client.ask("POST", path_of("users"), body=body)
    if as_json:
        to.item(answer)
        return
    to.line(f"{plain(str(answer.get('name')))} was added as {role}.")
    if not answer.get("password") and not answer.get("openid"):
        to.remark(f"Let them in: botkeep user link {name}")


@app.command("list")
def list_users(*, as_json: AsJson = False) -> None:
    """List users."""
    to = screen(as_json=as_json)

    def where(item: Item) -> str:
        lower = item.get("narrowed")
        pairs = lower.items() if isinstance(lower, dict) else ()
        return " ".join(f"{badge(str(name), colour=to.colour)} {plain(str(role))}" for name, role in pairs)

    def ways(item: Item) -> str:
        known = (("password", "password"), ("totp", "code"), ("openid", "organisation"))
        return ", ".join(word for key, word in known if item.get(key)) or "link"

    def signed_in(item: Item) -> str:
        if item.get("disabled_at"):
            return "disabled"
        return moment(item.get("seen_at"), now=to.now) if item.get("sessions") else "-"

    columns = (
        Column("NAME", lambda item: plain(str(item.get("name")))),
        Column("ROLE", lambda item: plain(str(item.get("role")))),
        Column("EXCEPT", where),
        Column("SIGNS IN BY", ways),
        Column("SIGNED IN", signed_in),
        Column("ADDED", lambda item: moment(item.get("added_at"), now=to.now)),
        Column("BY", lambda item: plain(str(item.get("added_by") or ""))),
    )
    with connected() as client:
        show_list(
            to, client.pages(path_of("users")), columns, empty="No users yet. Add one: botkeep user add NAME --role dev"
        )


@app.command()
def role(name: NameArgument, *, role: RoleOption, lower: NarrowedIn = None, as_json: AsJson = False) -> None:
    """Give a user another role; what is not said about environments is taken back."""
    to = screen(as_json=as_json)
    with connected() as client:
        body: Item = {"role": role, "narrowed": narrowed(lower)}
        answer = client.ask("PUT", path_of("users", name, "role"), body=body)
    if as_json:
        to.item(answer)
    else:
        to.line(f"{plain(name)} has the role {role} now.")


@app.command()
def remove(name: NameArgument, *, as_json: AsJson = False) -> None:
    """Remove a user from the workspace, with their sessions and the tokens they made."""
    to = screen(as_json=as_json)
    with connected() as client:
        answer = client.ask("DELETE", path_of("users", name))
    if as_json:
        to.item(answer)
        return
    to.line(f"{plain(name)} removed.")
    tokens = answer.get("tokens")
    if isinstance(tokens, list) and tokens:
        to.remark(f"These tokens are refused as well: {plain(', '.join(map(str, tokens)))}")


@app.command()
def disable(name: NameArgument, *, as_json: AsJson = False) -> None:
    """Refuse a user, and the tokens they made, until they are enabled again; their sessions end."""
    to = screen(as_json=as_json)
    with connected() as client:
        answer = client.ask("PUT", path_of("users", name, "disabled"))
    if as_json:
        to.item(answer)
        return
    to.line(f"{plain(name)} is disabled.")
    to.remark(f"Let them in again: botkeep user enable {name}")


@app.command()
def enable(name: NameArgument, *, as_json: AsJson = False) -> None:
    """Let a user who was disabled in again, with the rights they had."""
    to = screen(as_json=as_json)
    with connected() as client:
        answer = client.ask("DELETE", path_of("users", name, "disabled"))
    if as_json:
        to.item(answer)
    else:
        to.line(f"{plain(name)} is enabled.")


@app.command()
def sessions(name: NameArgument, *, as_json: AsJson = False) -> None:
    """List the browsers in which a user is signed in and looks at this workspace."""
    to = screen(as_json=as_json)
    columns = (
        Column("ADDRESS", lambda item: plain(str(item.get("address")))),
        Column("BY", lambda item: plain(str(item.get("method")))),
        Column("SINCE", lambda item: moment(item.get("created_at"), now=to.now)),
        Column("LAST USED", lambda item: moment(item.get("seen_at"), now=to.now)),
        Column("BROWSER", lambda item: plain(str(item.get("agent") or "unknown"))),
    )
    with connected() as client:
        show_list(to, client.pages(path_of("users", name, "sessions")), columns, empty=f"{name} is signed in nowhere.")


@app.command("sign-out")
def sign_out(name: NameArgument, *, as_json: AsJson = False) -> None:
    """End every session of a user that looks at this workspace; they may sign in again."""
    to = screen(as_json=as_json)
    with connected() as client:
        answer = client.ask("DELETE", path_of("users", name, "sessions"))
    if as_json:
        to.item(answer)
        return
    to.line(f"{answer.get('ended')} sessions of {plain(name)} were ended.")
    to.remark(f"They can sign in again; to keep them out: botkeep user disable {name}")


@app.command()
def password(name: NameArgument, *, as_json: AsJson = False) -> None:
    """Set a user's password: from standard input, or asked for without echo."""
    to = screen(as_json=as_json)
    chosen = _typed(to, name)
    with connected() as client:
        client.ask("PUT", path_of("users", name, "password"), body={"password": chosen})
    if as_json:
        to.item({"name": name, "password": True})
    else:
        to.line(f"The password of {plain(name)} is set.")


@app.command()
def link(name: NameArgument, *, as_json: AsJson = False) -> None:
    """Make a link that signs a user in once; the links before it end."""
    to = screen(as_json=as_json)
    with connected() as client:
        answer = client.ask("POST", path_of("users", name, "links"))
    if as_json:
        to.item(answer)
        return
    to.line(str(answer.get("url")))
    to.remark(
        f"It works once, until {moment(answer.get('expires_at'), now=to.now)}; whoever opens it is {plain(name)}."
    )


@app.command()
def totp(name: NameArgument, *, as_json: AsJson = False) -> None:
    """Take a user's second factor away, for whoever lost the authenticator."""
    to = screen(as_json=as_json)
    with connected() as client:
        client.ask("DELETE", path_of("users", name, "totp"))
    if as_json:
        to.item({"name": name, "totp": False})
    else:
        to.line(f"{plain(name)} is asked for no one-time code any more.")


def _typed(to: Screen, name: str) -> str:
    if sys.stdin.isatty():
        content = values.from_prompt(f"the password of {name}", err=to.err)
    else:
        content, _dropped = values.from_pipe(sys.stdin.buffer)
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Misused("The password is no text.", hint="Send it as UTF-8.") from None
