"""The forms of data sources, one for each kind; pure. See `docs/DATA-SOURCES.md` and `docs/MAIL.md`."""

from __future__ import annotations

from collections.abc import Mapping

from console.pages.form_fields import FormField, Section

_REFERENCE = "Write the password as a reference: {{ASSET.GROUP.NAME}}."

_SQL = (
    Section(
        "Connection",
        (
            FormField(
                "connection",
                "Connection",
                "area",
                f"A URL, an ADO.NET, ODBC or JDBC string. {_REFERENCE}",
                reference=True,
                required=True,
            ),
            FormField(
                "system",
                "System of an ADO.NET string",
                "choice",
                options=(("", "as the string says"), "sqlserver", "postgresql", "mysql", "oracle"),
            ),
            FormField(
                "tls",
                "TLS",
                "choice",
                "verify checks the certificate and its name.",
                options=(("", "as the connection says"), "off", "prefer", "require", "verify"),
            ),
            FormField("tls_ca", "Trusted certificates", "area", "In PEM; empty: the system's.", reference=True),
        ),
    ),
    Section(
        "Query",
        (
            FormField(
                "query", "Query", "area", "One statement. Values are bound as :name, never put in.", required=True
            ),
            FormField(
                "parameters", "Parameters", "table", 'A line for each name: until = "2026-12-31".', reference=True
            ),
            FormField("read_only", "Read only", "tick", "The server is told that nothing is changed.", plain="on"),
        ),
    ),
    Section(
        "Limits",
        (
            FormField("row_limit", "Most rows", "number", "More are an error; 0: no limit. Empty: 1,000,000."),
            FormField("timeout", "Time for all rows", hint="Such as 5m, which is usual."),
            FormField("connect_timeout", "Time to connect", hint="Empty: 10s."),
            FormField("batch_rows", "Rows fetched at once", "number", "Empty: 1,000."),
        ),
        closed=True,
    ),
)

_IMAP = (
    Section(
        "Mailbox",
        (
            FormField("host", "Host", reference=True, required=True),
            FormField("port", "Port", hint="Empty: 993, or 143 with STARTTLS.", reference=True),
            FormField("tls", "TLS", "choice", options=(("", "implicit"), "starttls")),
            FormField("ca", "Trusted certificate", "area", "PEM text, or a file on the runner.", reference=True),
            FormField("user", "User", reference=True, required=True),
            FormField("password", "Password", hint="A reference: {{ASSET.GROUP.NAME}}.", reference=True),
            FormField(
                "oauth2_token", "or an OAuth 2 token", hint="A reference, instead of a password.", reference=True
            ),
            FormField("folder", "Folder", hint="Empty: INBOX.", reference=True),
        ),
    ),
    Section(
        "Which messages",
        (
            FormField("from", "From", hint="A part of the sender."),
            FormField("subject", "Subject", hint="A part of it."),
            FormField("body", "Text", hint="A part of it."),
            FormField("since", "Since", hint="A day such as 2026-01-31, or 7d."),
            FormField("search", "Further criteria", "table", "A line for each: seen = false."),
        ),
    ),
    Section(
        "Attachments",
        (
            FormField("attachments.name", "Names", hint="Patterns, parted by commas: *.pdf. Empty: all."),
            FormField("attachments.required", "Only messages that have one", "tick"),
            FormField("attachments.max_size", "Largest", hint="Empty: 25MB."),
            FormField("attachments.max_count", "Most of a message", "number", "Empty: 100."),
        ),
        closed=True,
    ),
    Section(
        "Afterwards",
        (
            FormField("mark", "Mark after success", hint="seen, or move:FOLDER. Empty: nothing."),
            FormField(
                "on_failure",
                "After a failure",
                "choice",
                options=(("", "offer it again (retry)"), ("leave", "leave it")),
            ),
            FormField("tries", "Jobs for one message", "number", "Empty: 3."),
            FormField("max_message", "Largest message", hint="Empty: 25MB."),
            FormField("batch", "Messages for one job", "number", "Empty: 1,000."),
        ),
        closed=True,
    ),
)

#: The sections of each kind's form.
FORMS: Mapping[str, tuple[Section, ...]] = {"sql": _SQL, "imap": _IMAP}
