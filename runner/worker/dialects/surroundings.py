"""What a bot of another world finds around it: variables, folders and files, as that world's own runner makes them.

Promises that files with values are made 0600 below the attempt's folder in memory, which is 0700 and goes with the
attempt; that no variable holds a value; and that nothing leads a client anywhere but to this machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from runner.dialects import ROBOCORP, ROBOTO
from runner.worker.environment import Facts, Folders, write_private
from runner.workspaces import DEFAULT
from vault import tokens
from vault.errors import InvalidToken
from vault.tokens import JSON

#: Roboto's word for an invocation that has no dataset.
_NO_DATASET = "__UNSPECIFIED_DATA_SOURCE__"

#: Past every proxy: these addresses are this machine's.
_DIRECT = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}


def prepare(
    facts: Facts, folders: Folders, dialect_tokens: Mapping[str, str], *, written: Mapping[str, Any], rendered: JSON
) -> dict[str, str]:
    """Make the files, and answer the variables, of each dialect that has a token.

    `written` are the parameters with their references, `rendered` the same with values.
    """
    variables = dict(_DIRECT)
    if (token := dialect_tokens.get(ROBOTO)) is not None:
        variables |= _roboto(facts, folders, token, written=written, rendered=rendered)
    if (token := dialect_tokens.get(ROBOCORP)) is not None:
        variables |= _robocorp(facts, folders, token)
    return variables


def _roboto(
    facts: Facts, folders: Folders, token: str, *, written: Mapping[str, Any], rendered: JSON
) -> dict[str, str]:
    config, inside = folders.assets / "roboto", folders.tmp / "roboto"
    config.mkdir(mode=0o700)
    inside.mkdir(mode=0o700)
    given, held = _parameters(written, rendered)
    write_private(config / "parameters.json", json.dumps(given, ensure_ascii=False).encode())
    write_private(config / "secrets.json", json.dumps(held, ensure_ascii=False).encode())
    places = {name: inside / name for name in ("inputs.json", "files.jsonl", "dataset.json")}
    for place in places.values():
        write_private(place, b"")
    inputs = inside / "input"
    inputs.mkdir(mode=0o700)
    return {
        "ROBOTO_DATASET_ID": _NO_DATASET,
        "ROBOTO_INVOCATION_ID": facts.job_id,
        "ROBOTO_ORG_ID": DEFAULT,
        "ROBOTO_INPUT_DIR": str(inputs),
        "ROBOTO_OUTPUT_DIR": str(folders.output),
        "ROBOTO_BEARER_TOKEN": token,
        "ROBOTO_SERVICE_ENDPOINT": f"{facts.endpoint}/compat/roboto",
        "ROBOTO_ACTION_PARAMETERS_FILE": str(config / "parameters.json"),
        "ROBOTO_ACTION_RUNTIME_CONFIG_DIR": str(config),
        "ROBOTO_ACTION_INPUTS_MANIFEST": str(places["inputs.json"]),
        "ROBOTO_FILE_METADATA_CHANGESET_FILE": str(places["files.jsonl"]),
        "ROBOTO_DATASET_METADATA_CHANGESET_FILE": str(places["dataset.json"]),
        # Up to 0.28 the client reads a parameter here: what it refers to, never the value.
        **{f"ROBOTO_PARAM_{name}": text for name, text in _plain(given, written).items()},
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": f"{facts.endpoint}/compat/aws",
        "AWS_EC2_METADATA_DISABLED": "true",
        "ROBOTO_CLI_SUPPRESS_UPGRADE_PROMPT": "true",
    }


def _robocorp(facts: Facts, folders: Folders, token: str) -> dict[str, str]:
    base = f"{facts.endpoint}/compat/rc"
    return {
        "RC_WORKSPACE_ID": DEFAULT,
        "RC_PROCESS_ID": facts.bot,
        "RC_PROCESS_RUN_ID": facts.job_id,
        "RC_ACTIVITY_RUN_ID": f"{facts.job_id}-{facts.attempt}",
        "RC_WORKITEM_ID": "",
        "RC_API_SECRET_HOST": base,
        "RC_API_SECRET_TOKEN": token,
        "RC_API_WORKITEM_HOST": base,
        "RC_API_WORKITEM_TOKEN": token,
        "RC_API_PROCESS_HOST": base,
        "RC_API_PROCESS_TOKEN": token,
        "ROBOT_ROOT": str(folders.package),
        "ROBOT_ARTIFACTS": str(folders.output),
    }


def _parameters(written: Mapping[str, Any], rendered: JSON) -> tuple[dict[str, Any], dict[str, str]]:
    """What Roboto's client is told of the parameters, and the values of those that are a reference as a whole."""
    values: dict[str, Any] = rendered if isinstance(rendered, dict) else {}
    given, held = dict(values), {}
    for name, text in written.items():
        reference = _whole(text)
        if reference is not None:
            given[name], held[name] = f"roboto-secret://{reference}", str(values.get(name, ""))
    return given, held


def _plain(given: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, str]:
    """The parameters that may be variables: no value of an asset is in them, and no NUL."""
    safe = {
        name: str(value) for name, value in given.items() if _whole(written.get(name)) or value == written.get(name)
    }
    return {name: text for name, text in safe.items() if "\0" not in text and len(text) < 100_000}


def _whole(value: object) -> str | None:
    """What a text refers to that is one reference and nothing else, in a form that Roboto's client takes."""
    if not isinstance(value, str):
        return None
    try:
        found = tokens.find(value)
    except InvalidToken:
        return None
    if len(found) != 1 or found[0].text != value:
        return None
    return str(found[0].asset).removeprefix("GLOBAL.")
