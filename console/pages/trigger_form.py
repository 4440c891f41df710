"""The forms of triggers, one for each kind; pure. `docs/TRIGGERS.md` says what the fields mean."""

from __future__ import annotations

from collections.abc import Mapping

from console.pages.form_fields import FormField, Section
from vault.names import ENVIRONMENTS

TARGETS = ("bot", "queue", "workflow")

_WHAT = Section(
    "What it starts",
    (
        FormField("target_kind", "Starts a", "choice", options=TARGETS, plain="bot"),
        FormField("target", "Name", required=True),
        FormField(
            "environment",
            "Environment",
            "choice",
            options=(("", "that of the queue or workflow, else dev"), *ENVIRONMENTS),
        ),
        FormField("parameters", "Parameters", "table", 'A line for each: region = "eu".', reference=True),
    ),
)

_HOW = Section(
    "Policies",
    (
        FormField("enabled", "Enabled", "tick", plain="on"),
        FormField(
            "overlap",
            "While what it started before is not over",
            "choice",
            options=(("", "start all the same (queue)"), ("skip", "skip"), ("cancel_previous", "cancel that first")),
        ),
        FormField("group", "Group of runners", hint="Empty: default."),
        FormField("priority", "Priority", "choice", options=(("", "normal"), "high", "low")),
    ),
    closed=True,
)

_FROM_EVENT = FormField(
    "parameters_from", "Parameters from the event", "table", 'A line for each, with a JSON pointer: branch = "/ref".'
)

_SCHEDULE = (
    Section(
        "When",
        (
            FormField("schedule.cron", "Cron", hint="Such as 0 7 * * mon-fri. Write one of cron, every and at."),
            FormField("schedule.every", "Every", hint="Such as 15m."),
            FormField("schedule.at", "At", hint="Once: 2027-01-31T08:00."),
            FormField("schedule.zone", "Time zone", hint="Such as Europe/Berlin. Empty: UTC."),
        ),
    ),
    Section(
        "Days and hours",
        (
            FormField("schedule.start", "Not before", hint="Such as 2027-01-01."),
            FormField("schedule.end", "Not after"),
            FormField("schedule.calendars", "Not on days of", "entries", "Names of calendars, parted by commas."),
            FormField("schedule.excluded_days", "Nor on", "entries", "Days such as 2027-05-02, parted by commas."),
            FormField("schedule.windows", "Only within", "lines", "A line for each: mon-fri 08:00-18:00."),
            FormField("schedule.forbidden_windows", "Never within", "lines", "A line for each: 12:00-13:00."),
        ),
        closed=True,
    ),
    Section(
        "When the clock changes, and what was missed",
        (
            FormField(
                "schedule.missing",
                "A time that the clock jumps over",
                "choice",
                options=(("", "usual"), ("next", "once, after the jump"), ("skip", "skip")),
            ),
            FormField(
                "schedule.repeated",
                "A time that comes twice",
                "choice",
                options=(("", "usual"), ("once", "the first"), ("last", "the second"), ("both", "both")),
            ),
            FormField("schedule.jitter", "Later by up to", hint="Such as 5m, at most 1h."),
            FormField(
                "schedule.misfire",
                "Missed instants",
                "choice",
                options=(("", "the newest fires (latest)"), ("all", "all fire"), ("none", "none fires")),
            ),
            FormField("schedule.misfire_limit", "With all: at most", "number", "Empty: 100."),
            FormField("schedule.misfire_grace", "Still on time within", hint="Empty: 60s."),
        ),
        closed=True,
    ),
)

_WEBHOOK = Section(
    "Deliveries",
    (
        FormField("webhook.style", "Signed as", "choice", options=("github", "stripe", "botkeep", "plain")),
        FormField("webhook.header", "Header of the signature", hint="Empty: the style's own."),
        FormField("webhook.delivery", "Header of a delivery's id", hint="Empty: the style's own."),
        FormField("webhook.tolerance", "Oldest signature", hint="Empty: 5m."),
        FormField("webhook.rate", "Most in a minute", "number", "Empty: 60."),
        FormField("webhook.max_size", "Most bytes", "number", "Empty: 262,144."),
        _FROM_EVENT,
    ),
)

_FILE = Section(
    "Files",
    (
        FormField("file.folder", "Folder", hint="Absolute, on the runners that may watch it.", required=True),
        FormField("file.pattern", "Names", hint="Such as *.csv. Empty: all."),
        FormField("file.stable", "Complete after", hint="Unchanged for so long. Empty: 2s."),
        FormField("file.done", "Folder of done files", hint="Empty: done."),
        FormField("file.failed", "Folder of failed files", hint="Empty: failed."),
        _FROM_EVENT,
    ),
)

_COMPLETION = Section(
    "What must have ended",
    (
        FormField("source_kind", "A", "choice", options=TARGETS, plain="bot"),
        FormField("source", "Name", required=True),
        FormField("completion.environment", "Where", "choice", options=(("", "in every environment"), *ENVIRONMENTS)),
        FormField("completion.states", "How", "entries", "Of succeeded, failed and cancelled. Empty: succeeded."),
        _FROM_EVENT,
    ),
)

_EMAIL = Section(
    "Messages",
    (
        FormField("email.source", "Mailbox", hint="A data source of kind imap.", required=True),
        FormField("email.from", "From", hint="A part of the sender."),
        FormField("email.subject", "Subject", hint="A part of it."),
        FormField("email.body", "Text", hint="A part of it."),
        FormField("email.attachment", "Attachment", hint="Patterns, parted by commas: *.pdf."),
        FormField("email.extension", "Ending of its name", hint="Such as pdf."),
        FormField("email.interval", "Look every", hint="Empty: 1m."),
        FormField("email.backlog", "Also what had come before", "tick"),
        _FROM_EVENT,
    ),
)

#: The sections of each kind's form.
FORMS: Mapping[str, tuple[Section, ...]] = {
    "schedule": (_WHAT, *_SCHEDULE, _HOW),
    "webhook": (_WHAT, _WEBHOOK, _HOW),
    "file": (_WHAT, _FILE, _HOW),
    "completion": (_WHAT, _COMPLETION, _HOW),
    "email": (_WHAT, _EMAIL, _HOW),
}


def definition(kind: str, read: Mapping[str, object]) -> dict[str, object]:
    """A definition of what the form's fields say, target and what ends under their own keys."""
    fields = dict(read)
    target_kind, target = str(fields.pop("target_kind", "bot")), fields.pop("target", None)
    if target_kind in TARGETS and target is not None:
        fields[target_kind] = target
    source_kind, source = str(fields.pop("source_kind", "bot")), fields.pop("source", None)
    if kind == "completion" and source_kind in TARGETS and source is not None:
        fields["completion"] = {source_kind: source, **_table(fields.get("completion"))}
    fields.setdefault(kind, {})
    return fields


def fields_of(kind: str, written: Mapping[str, object]) -> dict[str, object]:
    """A definition as the form has it: what it starts, and what must have ended, under the form's own names."""
    found = dict(written)
    for each in TARGETS:
        if name := found.pop(each, None):
            found |= {"target_kind": each, "target": name}
    ended = _table(found.get("completion")) if kind == "completion" else {}
    for each in TARGETS:
        if name := ended.get(each):
            found |= {"source_kind": each, "source": name}
    if found.get("enabled") is None:
        found["enabled"] = True
    return found


def _table(value: object) -> dict[str, object]:
    return dict(value) if isinstance(value, Mapping) else {}
