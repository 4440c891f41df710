"""Signs in to the portal with the password of its environment and files a report on this machine's disk."""

import base64
import json
import os
import platform
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any


def main() -> None:
    environment = os.environ["BOTKEEP_ENVIRONMENT"]
    parameters = json.loads(Path(os.environ["BOTKEEP_PARAMETERS_FILE"]).read_text(encoding="utf-8"))
    site = f"{parameters['portal']}/{environment}"
    credentials = f"{parameters['user']}:{os.environ['KLANGO_ASSET_PORTAL_PASSWORD']}"
    headers = {
        "Authorization": f"Basic {base64.b64encode(credentials.encode()).decode()}",
        "Content-Type": "application/json",
    }
    try:
        account = ask(f"{site}/account", headers)
        print(f"Signed in to the {account['site']} site as {account['user']}.")
        answer = ask(f"{site}/reports", headers, disk_report(environment))
    except urllib.error.HTTPError as error:
        sys.exit(f"The portal refused: {error.code} {json.load(error)['error']}")
    print(f"The report is filed as {answer['filed']}.")


def disk_report(environment: str) -> dict[str, Any]:
    usage = shutil.disk_usage("/")
    free = usage.free * 100 // usage.total
    print(f"The disk of {platform.node()} has {free} % free.")
    return {
        "title": f"Disk of {platform.node()}",
        "environment": environment,
        "job": os.environ["BOTKEEP_JOB_ID"],
        "total_bytes": usage.total,
        "free_bytes": usage.free,
        "free_percent": free,
    }


def ask(url: str, headers: dict[str, str], content: dict[str, Any] | None = None) -> dict[str, Any]:
    body = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(url, data=body, headers=headers)
    print(f"> {request.get_method()} {request.selector}")
    # "Only for debugging", and then it stays: the log must not show the password even so.
    for name, text in request.header_items():
        print(f"> {name}: {text}")
    with urllib.request.urlopen(request, timeout=20) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


if __name__ == "__main__":
    main()
