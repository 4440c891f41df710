"""Messages as senders really make them: each becomes something, and no name in it can do harm."""

import base64

import pytest

from runner.mail_definition import Attachments
from runner.worker.mail_message import MAX_PARTS, Parsed, parse

ALL = Attachments()


def parsed(*lines: str, wanted: Attachments = ALL) -> Parsed:
    return parse("\r\n".join(lines).encode("utf-8", "surrogateescape"), wanted=wanted)


def attached(disposition: str) -> Parsed:
    return parsed(
        "MIME-Version: 1.0",
        'Content-Type: multipart/mixed; boundary="b"',
        "",
        "--b",
        "Content-Type: application/octet-stream",
        f"Content-Disposition: {disposition}",
        "",
        "data",
        "--b--",
    )


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="C:\\\\Windows\\\\evil.exe"', "evil.exe"),
        ("attachment; filename*=UTF-8''r%C3%A4chnung%20%E2%80%AEfdp.exe", "rächnung fdp.exe"),
        ('attachment; filename*0="long "; filename*1="name.txt"', "long name.txt"),
        ('attachment; filename="=?utf-8?B?csOkY2guY3N2?="', "räch.csv"),
        ('attachment; filename="CON.txt"', "_CON.txt"),
        ('attachment; filename=".."', "attachment"),
        ("attachment", "attachment"),
        ('attachment; filename="=?utf-8?B?broken"', "=_utf-8_B_broken"),
        ("attachment; filename*=nonsense''%FF%FE.txt", None),
    ],
)
def test_an_attachments_name_is_decoded_and_safe(disposition: str, name: str | None) -> None:
    (found,) = attached(disposition).attachments
    assert found.content.strip() == b"data"
    assert name is None or found.name == name
    assert "/" not in found.name


def test_names_that_are_there_twice_are_numbered() -> None:
    part = ["--b", "Content-Type: text/plain", 'Content-Disposition: attachment; filename="%s"', "", "x"]
    lines = [line % name if "%" in line else line for name in ("a.txt", "A.TXT", "a.txt") for line in part]
    found = parsed('Content-Type: multipart/mixed; boundary="b"', "", *lines, "--b--")
    assert [one.name for one in found.attachments] == ["a.txt", "A (2).TXT", "a (3).txt"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\xff\xfe",
        b"no headers at all",
        b"Content-Type: multipart/mixed\r\n\r\nno boundary",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nnever closed",
        b"Subject: =?utf-8?Q?=FF=FE?= =?nonsense?B?xx?=\r\nFrom: \xff\xfe <\r\nDate: the day after\r\n\r\ntext",
        b"Content-Type: text/plain; charset=nonsense\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!not base64",
        b"From: " + b"a" * 100_000 + b"\r\n\r\n",
        b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ntext",
        b"\r\n".join([b"Content-Type: multipart/mixed; boundary=b", b"", *[b"--b\r\n\r\nx"] * (MAX_PARTS + 10)]),
        b"\r\n".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d" % (n, n) for n in range(3000)),
    ],
)
def test_a_broken_message_becomes_something(content: bytes) -> None:
    found = parse(content, wanted=ALL)
    assert found.head["size"] == len(content)
    assert isinstance(found.head["text"], str)
    str(found.head).encode("utf-8")


def test_what_cannot_be_taken_apart_is_handed_over_whole() -> None:
    content = b"\r\n".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d" % (n, n) for n in range(3000))
    found = parse(content, wanted=ALL)
    assert [one.name for one in found.attachments] == ["message.eml"]
    assert found.attachments[0].content == content
    assert "taken apart" in found.head["defects"][0]


def test_heads_texts_and_sizes_are_told() -> None:
    found = parsed(
        "From: =?utf-8?Q?J=C3=BCrgen?= <j@example.com>",
        "To: a@example.com, B <b@example.com>",
        "Subject: =?utf-8?B?R3LDvMOfZQ==?=",
        "Date: Tue, 03 Feb 2026 10:00:00 +0100",
        "Message-ID: <1@example.com>",
        "X-Twice: one",
        "X-Twice: two",
        "Content-Type: text/html; charset=latin-1",
        "Content-Transfer-Encoding: base64",
        "",
        base64.b64encode("<b>ü</b>".encode("latin-1")).decode(),
    ).head
    assert found["from"] == [{"name": "Jürgen", "address": "j@example.com"}]
    assert [one["address"] for one in found["to"]] == ["a@example.com", "b@example.com"]
    assert (found["subject"], found["date"]) == ("Grüße", "2026-02-03T10:00:00+01:00")
    assert (found["html"], found["text"], found["headers"]["x-twice"]) == ("<b>ü</b>", "", ["one", "two"])
    assert found["defects"] == []


def test_attachments_beyond_the_limits_are_named_and_not_handed_over() -> None:
    part = ["--b", "Content-Type: application/pdf", 'Content-Disposition: attachment; filename="%d.pdf"', "", "%s"]
    lines = [line.replace("%d", str(n)).replace("%s", "x" * n * 100) for n in range(1, 5) for line in part]
    found = parsed(
        'Content-Type: multipart/mixed; boundary="b"',
        "",
        *lines,
        "--b--",
        wanted=Attachments(max_size=300, max_count=2),
    )
    assert [one.name for one in found.attachments] == ["1.pdf", "2.pdf"]
    assert [(one["name"], one["why"].split()[0]) for one in found.head["skipped"]] == [
        ("3.pdf", "more"),
        ("4.pdf", "larger"),
    ]
