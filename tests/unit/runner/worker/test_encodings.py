"""Each way of writing a value down is known to the masker."""

import base64
import html
import json
import random
import shlex
import urllib.parse

import pytest

from runner.worker import encodings, markup, substitution
from runner.worker.encodings import BINARY_ENCODERS, PIECE, TEXT_ENCODERS, forms
from runner.worker.escapes import UNRESERVED, numbered, through
from runner.worker.masker import Masker
from runner.worker.parts import leaves, lines

NASTY = "p\"a's\\s<w>o&r/d %é\n$x`~*!(1)"


@pytest.mark.parametrize(
    ("encoder", "value", "written"),
    [
        (encodings.raw, b"one\ntwo", b"one\r\ntwo"),
        (encodings.raw, b"one\r\ntwo", b"one\ntwo"),
        (encodings.raw, b"pass\xffword", "pass\ufffdword".encode()),
        (encodings.json_escaped, b'a"b\\c', rb"a\"b\\c"),
        (encodings.json_escaped, "é\n".encode(), rb"\u00e9\n"),
        (encodings.json_escaped, "é\n".encode(), "é\\n".encode()),
        (encodings.json_escaped, "é".encode(), rb"\u00E9"),
        (encodings.json_escaped, b"a/b", rb"a\/b"),
        (encodings.json_escaped, b"a<b>&", rb"a\u003cb\u003e\u0026"),
        (encodings.json_escaped, b'a"b', rb"a\\\"b"),
        (encodings.url_quoted, b"a b/c", b"a%20b%2Fc"),
        (encodings.url_quoted, b"a b/c", b"a%20b%2fc"),
        (encodings.url_quoted, b"a b/c", b"a+b%2Fc"),
        (encodings.url_quoted, b"a b/c", b"a%20b/c"),
        (encodings.url_quoted, b"a!(b)@", b"a!(b)%40"),
        (encodings.url_quoted, b"a~*@", b"a%7E*%40"),
        (encodings.url_quoted, b"a@b", b"a%2540b"),
        (encodings.url_quoted, b"a\nb", b"a%0D%0Ab"),
        (encodings.url_quoted, bytes(range(128, 138)), b"%80%81%82%83%84%85%86%87%88%89"),
        (markup.markup_escaped, b"a<b>&\"'", b"a&lt;b&gt;&amp;\"'"),
        (markup.markup_escaped, b"a<b>&\"'", b"a&lt;b&gt;&amp;&quot;&#x27;"),
        (markup.markup_escaped, b"a<b>&\"'", b"a&lt;b&gt;&amp;&#34;&#39;"),
        (markup.markup_escaped, b"a<b>&\"'", b"a&lt;b&gt;&amp;&quot;&apos;"),
        (markup.markup_escaped, "&é".encode(), b"&amp;&#233;"),
        (markup.markup_escaped, b"a\nb", b"a&#10;b"),
        (encodings.shell_quoted, b"it's", b"it'\"'\"'s"),
        (encodings.shell_quoted, b"it's", rb"it'\''s"),
        (encodings.shell_quoted, b'a"$b`\\', rb"a\"\$b\`\\"),
        (encodings.shell_quoted, b"a b&c\\", rb"a\ b\&c\\"),
        (encodings.shell_quoted, b"a'\n\\", rb"a\'\n\\"),
        (encodings.python_quoted, b"a\"'\n", rb"a\"\'\n".replace(rb"\"", b'"')),
        (encodings.python_quoted, b"a'\n", rb"a'\n"),
        (encodings.python_quoted, "é".encode(), rb"\xe9"),
        (encodings.python_quoted, "é".encode(), rb"\xc3\xa9"),
        (encodings.python_quoted, b"a\n", rb"a\\n"),
        (encodings.json_escaped, b"a+'\"<", rb"a\u002B\u0027\u0022\u003C"),
        (encodings.url_quoted, b"a b<c>?", b"a%20b%3Cc%3E?"),
        (markup.markup_escaped, b"a<b>&\"'", b"a&#60;b&#62;&#38;&#34;&#39;"),
        (markup.markup_escaped, b"a<b>&\"'", b"a&#x3c;b&#x3e;&#x26;&#x22;&#x27;"),
        (markup.markup_escaped, b"a<b>&\"'", b"a&#x3C;b&#x3E;&#x26;&#x22;&#x27;"),
        (markup.markup_escaped, b"a'b", b"a&#039;b"),
        (markup.markup_escaped, b"a@b#1;&", b"a&#64;b&#35;1&#59;&#38;"),
        (markup.markup_escaped, b"a@b#1;&", b"a&#x40;b&#x23;1&#x3b;&#x26;"),
        (markup.markup_escaped, "<é€𝄞".encode(), b"&lt;&eacute;&euro;&#119070;"),
        (markup.markup_escaped, "<é€".encode(), b"&lt;&#xe9;&#x20ac;"),
        (markup.markup_escaped, "<é€".encode(), b"&lt;&#xE9;&#x20AC;"),
        (markup.markup_escaped, "é".encode(), b"&eacute;"),
        (substitution.sql, b"it's", b"it''s"),
        (substitution.sql, b'a"b', b'a""b'),
        (substitution.sql, b"a]b`c", b"a]]b`c"),
        (substitution.sql, b"a]b`c", b"a]b``c"),
        (substitution.sql, b"it's\\", rb"it\'s\\"[:-1]),
        (substitution.placeholders, b"100%", b"100%%"),
        (substitution.libpq, b"it's\\", rb"it\'s\\"),
        (substitution.quoted_string, b'a"b\\', rb"a\"b\\"),
        (substitution.odbc, b"a}b", b"a}}b"),
        (substitution.ado_net, b'a"b', b'a""b'),
        (substitution.ado_net, b"a'b", b"a''b"),
        (substitution.ado_net, b"a=b", b"a==b"),
        (substitution.sqlalchemy, b"a b+c@d", b"a b+c%40d"),
        (substitution.jdbc, b"a:b=c d#!\\", rb"a\:b\=c\ d\#\!\\"),
        (substitution.substituted, b"it's", b"it''s"),
        (substitution.substituted, b"a=b", b"a==b"),
        (encodings.hexadecimal, b"\xab\x01", b"ab01"),
        (encodings.hexadecimal, b"\xab\x01", b"AB01"),
        (encodings.hexadecimal, b"a" * 31, b"61" * 30 + b"\n61"),
        (encodings.base64, b"pass", b"cGFzcw=="),
        (encodings.base64, b"\xff\xef\xbe\xff", b"_---_w=="),
        (encodings.base64, b"pass", base64.b64encode(b"xpass")[2:]),
        (encodings.base64, b"pass", base64.b64encode(b"xypass")[3:]),
        (encodings.base64, b"a" * 60, base64.encodebytes(b"a" * 60).strip()),
        (encodings.base64, b"a" * 60, base64.encodebytes(b"a" * 60).strip().replace(b"\n", b"\r\n")),
        (encodings.utf16, b"ab", b"a\0b"),
        (encodings.utf16, "aé€".encode(), "aé€".encode("utf-16-le")),
        (encodings.utf16, "aé€".encode(), "aé€".encode("utf-16-be")),
    ],
)
def test_an_encoder_knows(encoder: encodings.Encoder, value: bytes, written: bytes) -> None:
    assert written in set(encoder(value))


@pytest.mark.parametrize("lead", [b"", b"x", b"xy", b"xyz"])
@pytest.mark.parametrize("value", [b"password", b"passwords", b"passwords!"])
def test_base64_of_a_longer_text_holds_a_form_at_any_offset(lead: bytes, value: bytes) -> None:
    for trail in (b"", b"q", b"qq"):
        text = base64.b64encode(lead + value + trail)
        longest = max((form for form in forms(value) if form in text), key=len)
        assert len(text.strip(b"=")) - len(longest.strip(b"=")) <= len(lead + trail) * 4 / 3 + 3


def test_what_the_standard_library_writes_is_a_form() -> None:
    written = [
        json.dumps(NASTY)[1:-1],
        json.dumps(NASTY, ensure_ascii=False)[1:-1],
        urllib.parse.quote(NASTY),
        urllib.parse.quote(NASTY, safe=""),
        urllib.parse.quote_plus(NASTY),
        html.escape(NASTY),
        html.escape(NASTY, quote=False),
        shlex.quote(NASTY)[1:-1],
        repr(NASTY)[1:-1],
        ascii(NASTY)[1:-1],
        repr(NASTY.encode())[2:-1],
        repr(repr(NASTY)[1:-1])[1:-1],
        NASTY.encode().hex(),
    ]
    found = forms(NASTY.encode())

    assert [text for text in written if text.encode() not in found] == []


def test_many_values_at_once_have_the_forms_of_each() -> None:
    values = [
        NASTY.encode(),
        b"plain0letters",
        b"Zq%J0X",
        b"ZqJ0X",
        b"b*ck\\",
        b"ends in Zq",
        b"pass\xffword",
        b'{"a": "k9/Zq&4"}',
    ]

    assert forms(*values) == set().union(*map(forms, values))


def test_a_table_writes_each_byte_by_itself() -> None:
    every = bytes(range(256)) * 2
    for numbers in ("&#%d;", "%%%02X"):
        escapes = numbered(numbers, kept=UNRESERVED)
        assert through(escapes, every) == b"".join(through(escapes, bytes((code,))) for code in every)
        assert through(escapes, b"a#;&%1&") == b"".join(through(escapes, bytes((code,))) for code in b"a#;&%1&")


def test_no_form_is_empty_and_no_form_begins_with_a_line_break() -> None:
    for value in (b"\n\nabcd\n", NASTY.encode(), b"abcd", b"\x00\x00\x00\x00", b'{"password": "\\nhunter22"}'):
        found = forms(value)
        assert found
        assert not any(form[:1] in {b"", b"\n", b"\r"} for form in found)


@pytest.mark.parametrize("value", [b"", b"   ", b"abc", b"\n", "äöü".encode(), b"****"])
def test_a_weak_value_has_no_forms(value: bytes) -> None:
    assert forms(value) == set()


def test_the_encoders_are_a_list_of_named_functions() -> None:
    for encoder in TEXT_ENCODERS + BINARY_ENCODERS:
        assert encoder.__doc__
        assert all(isinstance(form, bytes) for form in encoder(b"value"))


def test_meaningful_lines_are_forms_of_their_own() -> None:
    value = b"host=db.example.org\nuser\n}\n  pass=Tr0ub4dor&3  \n-----END X509 CRL-----\nplain words only\n"

    assert list(lines(value)) == [b"pass=Tr0ub4dor&3"]
    assert b"pass=Tr0ub4dor&amp;3" in forms(value)


def test_leaves_of_json_are_hidden_except_short_and_plain_ones() -> None:
    value = json.dumps(
        {
            "type": "service_account",
            "project_id": "acme-bots-4711",
            "port": 5432,
            "number": 1234567890,
            "nested": [{"client_secret": "correcthorse"}, True, None, "{", "abc"],
            "clientPassword": "sunshine",
            "shipping": "ordinary",
            "pin": "4711",
        }
    ).encode()

    assert set(leaves(value)) == {b"acme-bots-4711", b"1234567890", b"correcthorse", b"sunshine"}


def test_a_json_leaf_is_hidden_in_every_encoding() -> None:
    found = forms(b'{"password": "k9/Zq&4"}')

    leaf = b"k9/Zq&4"
    assert {leaf, b"k9%2FZq%264", b"k9/Zq&amp;4", leaf.hex().encode(), base64.b64encode(leaf)} <= found


def test_the_key_inside_a_json_value_is_hidden_like_one_of_its_own() -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n"

    found = forms(json.dumps({"outer": json.dumps({"private_key": pem})}).encode())

    assert {b"MIIEvQIBADANBgkq", b"hkiG9w0BAQEFAASC", b"MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"} <= found


@pytest.mark.parametrize(
    "value", [b"-----BEGIN X-----\n-----END X-----", b'{"password": ""}', b'{"token": "\\u0020*****"}', b'["*"]\n']
)
def test_empty_parts_are_no_forms(value: bytes) -> None:
    assert all(len(form) >= 4 for form in forms(value))


def test_asterisks_that_json_spells_out_cannot_be_completed_by_a_mask() -> None:
    assert b"k9/Zq&4" in forms(b'{"password": "k9/Zq&4\\u002a"}')


def test_json_nested_as_deep_as_it_can_be_read_is_taken_apart() -> None:
    assert list(leaves(b"[" * 900 + b'"k9/Zq&4"' + b"]" * 900)) == [b"k9/Zq&4"]


@pytest.mark.parametrize("value", [b"{broken", b'{"a": ', b"[" * 100_000])
def test_what_only_looks_like_json_has_no_leaves(value: bytes) -> None:
    assert list(leaves(value)) == []


def test_the_body_of_a_pem_value_is_hidden_line_by_line_and_on_one_line() -> None:
    body = base64.b64encode(bytes(range(150))).decode()
    rows = [body[start : start + 64] for start in range(0, len(body), 64)]
    pem = "\n".join(["-----BEGIN PRIVATE KEY-----", *rows, "-----END PRIVATE KEY-----", ""]).encode()

    found = forms(pem)

    assert {row.encode() for row in rows} <= found
    assert body.encode() in found
    assert b"-----BEGIN PRIVATE KEY-----" not in found


def test_a_long_form_comes_in_pieces_without_a_gap() -> None:
    value = bytes(ord("a") + (number * number) % 26 for number in range(5 * PIECE + 7))

    found = forms(value)

    assert max(map(len, found)) < 2 * PIECE
    assert all(value[start : start + PIECE] in found for start in range(0, 4 * PIECE, PIECE))
    assert value[4 * PIECE :] in found


def test_a_large_value_has_few_forms_and_is_still_hidden() -> None:
    dice = random.Random(5)
    binary = dice.randbytes(300_000)
    assert len(forms(binary)) < 20_000
    masker = Masker([("FILE", binary)])
    assert masker.mask(b"<" + binary + b">") == b"<***>"
    assert base64.b64encode(binary)[8:-8] not in masker.mask(base64.b64encode(binary))
    text = "\n".join(f"token-{dice.getrandbits(128):x}" for _ in range(2_000)).encode()
    assert masker_of(text).mask(b"one line: " + text.splitlines()[77]) == b"one line: ***"


def masker_of(value: bytes) -> Masker:
    return Masker([("FILE", value)])
