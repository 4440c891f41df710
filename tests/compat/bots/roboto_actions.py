"""An action that does with Roboto's own client all that one does with its values; prints one JSON line."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys

from roboto import InvocationContext
from roboto.domain.secrets import Secret


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def refused(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return "not refused"


def command(*words):
    program = str(pathlib.Path(sys.executable).with_name("roboto"))
    done = subprocess.run([program, "--suppress-upgrade-check", "secrets", *words], capture_output=True, text=True)
    return [done.returncode, done.stdout, done.stderr[-300:]]


context = InvocationContext.from_env()
mine = Secret.from_name("my-api-key")
told = {
    "parameter": digest(context.get_parameter("api_key")),
    "plain": context.get_parameter("region"),
    "optional": context.get_optional_parameter("absent", "nothing"),
    "variable": os.environ["ROBOTO_PARAM_api_key"],
    "shown": str(mine.read_value()),
    "direct": digest(mine.read_value().get_secret_value()),
    "by_uri": digest(Secret.from_uri("roboto-secret://my-api-key@default").read_value().get_secret_value()),
    "foreign": refused(lambda: Secret.from_uri("roboto-secret://my-api-key@elsewhere")),
    "another_bots": refused(lambda: Secret.from_name("others_own")),
    "climbing": refused(lambda: Secret.from_name("../../v1/secrets")),
    "undeclared_write": refused(lambda: mine.update_value("changed")),
    "directories": [str(context.input_dir.is_dir()), str(context.output_dir.is_dir())],
    "input": len(list(context.get_input().files)),
    "mode": oct(os.stat(os.environ["ROBOTO_ACTION_RUNTIME_CONFIG_DIR"] + "/secrets.json").st_mode & 0o777),
    "commands": [
        command("write", "session-token", "made-by-the-command"),
        command("list"),
        command("delete", "session-token"),
        command("list"),
    ],
}
made = Secret.create("made-here")
made.update_value("first-value-of-the-bot")
made.update_value("second-value-of-the-bot")
told["made"] = digest(Secret.from_name("made-here").read_value().get_secret_value())
print("second-value-of-the-bot")
print(json.dumps(told))
