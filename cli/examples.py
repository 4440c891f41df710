"""What `--help` of a command shows as examples; a test parses every one of them.

A command without examples is one whose usage line says all.
"""

from __future__ import annotations

from collections.abc import Mapping

#: By command, without `botkeep`: what may be typed after it. Values come from pipes and files, never from here.
EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "up": ("botkeep up", "botkeep up --detach --port 0"),
    "down": ("botkeep down --grace 5m",),
    "run": (
        "botkeep run report --env prod --follow",
        "botkeep run invoices --param month=2026-08 --param 'password={{ASSET.SAP.PASSWORD}}' --wait",
        "botkeep run report --env prod --idempotency-key 2026-08 --json",
    ),
    "history": ("botkeep history --env prod --state failed --limit 20", "botkeep history --bot report --json"),
    "runner": (
        "botkeep runner --environment prod",
        "botkeep runner --environment dev --environment staging --group gpu --concurrency 8",
    ),
    "bot add": ("botkeep bot add hello hello.py", "botkeep bot add invoices ./invoices"),
    "bot show": ("botkeep bot show invoices",),
    "asset set": (
        "botkeep asset set SAP.PASSWORD --env prod",
        "pass show sap/prod | botkeep asset set SAP.PASSWORD --env prod --description 'The account of the reports'",
        "botkeep asset set SAP.CERTIFICATE --env prod --file client.pfx",
        "botkeep asset set SAP.PASSWORD --env prod --bot invoices",
    ),
    "asset local": ("botkeep asset local SAP.USER --bot invoices",),
    "asset rollback": ("botkeep asset rollback SAP.PASSWORD --env prod --to 3",),
    "asset coverage": ("botkeep asset coverage", "botkeep asset coverage --bot invoices --json"),
    "job logs": (
        "botkeep job logs ID --follow",
        "botkeep job logs ID --tail 50 --timestamps",
        "botkeep job logs ID --grep ERROR --stream stderr",
    ),
    "job outputs": ("botkeep job outputs ID",),
    "secret write": ("botkeep secret write API_KEY --env prod", "botkeep secret write CERT --file client.pem"),
    "secret read": ("botkeep secret read API_KEY --env prod",),
    "key rotate": ("botkeep key rotate --env prod --prepare", "botkeep key rotate --env prod"),
    "environment set": (
        "botkeep environment set prod --unset refuse",
        "botkeep environment set prod --isolation landlock",
    ),
    "workspace limits": ("botkeep workspace limits memory=2GB cpu_time=10m",),
    "concurrency set": (
        "botkeep concurrency set 4 --env prod",
        "botkeep concurrency set 1 --env prod --asset SAP.PASSWORD",
    ),
    "token create": ("botkeep token create ci --role operator --env dev --env staging",),
    "user add": ("botkeep user add ann --role dev",),
    "audit list": ("botkeep audit list --limit 20",),
    "audit export": ("botkeep audit export > audit.jsonl",),
    "completion": (
        'eval "$(botkeep completion bash)"',
        "botkeep completion fish > ~/.config/fish/completions/botkeep.fish",
    ),
}


def epilog(command: str) -> str | None:
    """The examples of a command as its help shows them; `None` where it has none."""
    lines = EXAMPLES.get(command)
    if lines is None:
        return None
    # The first character keeps the library from filling the lines up (click.palletsprojects.com, "Escaping").
    return "\n".join(("\b", "Examples:" if len(lines) > 1 else "Example:", *(f"  {line}" for line in lines)))
