"""As `roboto_actions.py`, but what clients of all lines have."""

import hashlib
import json

from roboto import InvocationContext
from roboto.domain.secrets import Secret


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


context = InvocationContext.from_env()
print(
    json.dumps(
        {
            "parameter": digest(context.get_parameter("api_key")),
            "plain": context.get_parameter("region"),
            "direct": digest(Secret.from_name("my-api-key").read_value().get_secret_value()),
        }
    )
)
