"""Versions of bots at the command line: their files, what one says, what changed between two."""

from tests.unit.cli.conftest import Answer, Botkeep, Console

BOT = {"name": "b", "version": 3, "digest": "d" * 64, "manifest": {}, "versions": []}
LINES = [
    {"sign": " ", "text": "same", "more": 0, "ended": True},
    {"sign": "-", "text": "old", "more": 0, "ended": True},
    {"sign": "+", "text": "new \x1b[31m", "more": 9, "ended": False},
]
DIFF = {
    "before": 2,
    "after": 3,
    "settings": [{"name": "timeout", "before": 600.0, "after": None}],
    "requirements_added": ["six"],
    "requirements_removed": [],
    "files": [
        {"name": "main.py", "before": {}, "after": {}, "note": "", "left_out": 4}
        | {"before": {"size": 1}, "after": {"size": 1}, "hunks": [{"head": "@@ -1,2 +1,2 @@", "lines": LINES}]},
        {"name": "logo.png", "before": None, "after": {"size": 1}, "note": "Not text: not shown.", "hunks": []},
    ],
}


def test_a_diff_is_of_the_newest_two_versions_unless_others_are_named(console: Console, botkeep: Botkeep) -> None:
    console.on("GET", "/api/v1/bots/b", Answer(BOT))
    console.on("GET", "/api/v1/bots/b/diff", Answer(DIFF))
    assert botkeep("bot", "diff", "b").out.splitlines() == [
        "setting timeout: 600.0 -> -",
        "+needs six",
        "--- version 2/main.py",
        "+++ version 3/main.py",
        "@@ -1,2 +1,2 @@",
        " same",
        "-old",
        "+new \\x1b[31m … 9 more characters",
        "\\ No newline at end of file",
        "… 4 more lines",
        "--- /dev/null",
        "+++ version 3/logo.png",
        "Not text: not shown.",
    ]
    assert console.requests[-1].query == {"before": "2", "after": "3"}
    botkeep("bot", "diff", "b", "1")
    assert console.requests[-1].query == {"before": "1", "after": "3"}
    assert botkeep("bot", "diff", "b", "1", "2", "--json").lines == [DIFF]
    assert console.requests[-1].query == {"before": "1", "after": "2"}


def test_a_diff_says_when_there_is_nothing_to_compare(console: Console, botkeep: Botkeep) -> None:
    console.on("GET", "/api/v1/bots/b", Answer(BOT | {"version": 1}))
    result = botkeep("bot", "diff", "b")
    assert (result.status, "one version only" in result.err) == (2, True)
    console.on("GET", "/api/v1/bots/b", Answer(BOT))
    same = {"before": 2, "after": 3, "files": [], "settings": []}
    console.on("GET", "/api/v1/bots/b/diff", Answer(same), Answer(same | {"files": None}))
    assert "the same files" in botkeep("bot", "diff", "b").out
    assert "before its files were listed" in botkeep("bot", "diff", "b").out


def test_a_version_lists_its_files_and_one_of_them_is_printed(console: Console, botkeep: Botkeep) -> None:
    files = [{"name": "main.py", "size": 12, "digest": "e" * 64, "executable": False}]
    version = {"version": 2, "digest": "d" * 64, "manifest": {"entry": "main.py"}, "files": files}
    console.on("GET", "/api/v1/bots/b/versions/2", Answer(version), Answer(version | {"files": None}))
    assert botkeep("bot", "show", "b", "--version", "2").out.splitlines()[-2:] == [
        "FILE     BYTES  DIGEST",
        "main.py  12     eeeeeeeeeeee",
    ]
    assert "add it again" in botkeep("bot", "show", "b", "--version", "2").err
    console.on("GET", "/api/v1/bots/b", Answer(BOT))
    texts = [Answer({"text": "a\tb\n\x1b]0;x\x07\n", "note": ""}), Answer({"text": None, "note": "Not text."})]
    console.on("GET", "/api/v1/bots/b/versions/3/source", *texts)
    assert botkeep("bot", "show", "b", "--file", "lib/x.py").out == "a\tb\n\\x1b]0;x\\x07\n"
    assert console.requests[-1].query == {"file": "lib/x.py"}
    assert "Not text." in botkeep("bot", "show", "b", "--file", "x", "--version", "3").err
