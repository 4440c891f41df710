"""Which requirements count, and that the same ones have the same text."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.dependencies import Dependencies, RequirementInvalid, find_dependencies

Files = dict[str, str | bytes]


def find(
    files: Files | None = None, *, requirements: list[str] | None = None, entry: str | None = "main.py"
) -> Dependencies | None:
    contents = {name: text.encode() if isinstance(text, str) else text for name, text in (files or {}).items()}
    return find_dependencies({"main.py": b"", **contents}, entry=entry, requirements=requirements)


def text_of(requirements_file: str | bytes) -> str:
    found = find({"requirements.txt": requirements_file})
    return found.text if found else ""


SCRIPT = """#!/usr/bin/env python
# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "rich",
#   "requests<3",
# ]
# ///
import rich
"""
PROJECT = '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["attrs"]\n'


def test_nothing_asked_for_is_none() -> None:
    assert find() is None
    assert find({"requirements.txt": "\n# nothing\n"}) is None
    assert find({"pyproject.toml": "[tool.ruff]\nline-length = 100\n"}) is None


def test_the_first_source_counts_alone() -> None:
    sources: Files = {
        "main.py": SCRIPT,
        "requirements.txt": "flask",
        "pyproject.toml": PROJECT,
    }
    assert find(sources, requirements=["numpy"]) == Dependencies("numpy\n", "", "bot.toml")
    assert find(sources) == Dependencies("requests<3\nrich\n", ">=3.11", "main.py")
    del sources["main.py"]
    assert find(sources) == Dependencies("flask\n", "", "requirements.txt")
    del sources["requirements.txt"]
    assert find(sources) == Dependencies("attrs\n", ">=3.11", "pyproject.toml")


def test_an_empty_list_in_bot_toml_says_that_there_are_none() -> None:
    assert find({"requirements.txt": "flask"}, requirements=[]) is None


def test_a_script_block_is_read_from_the_entry_only() -> None:
    assert find({"main.py": SCRIPT}, entry=None) is None
    assert find({"other.py": SCRIPT}) is None


def test_a_python_range_alone_counts() -> None:
    found = find({"main.py": '# /// script\n# requires-python = ">= 3.12"\n# ///\n'})
    assert found == Dependencies("", ">=3.12", "main.py")


def test_windows_line_ends_and_a_byte_order_mark_change_nothing() -> None:
    windows = b"\xef\xbb\xbf" + SCRIPT.replace("\n", "\r\n").encode()
    assert find({"main.py": windows}) == find({"main.py": SCRIPT})
    assert text_of("flask\r\nattrs\r\n".encode("utf-16")) == "attrs\nflask\n"


def test_order_case_spacing_comments_and_repetition_change_nothing() -> None:
    one = find({"requirements.txt": "Flask >= 2, <3  # web\n\n# more\nruamel.yaml[b, a]; python_version > '3'\n"})
    other = find({"requirements.txt": "ruamel_yaml[a,b] ;python_version>'3'\nflask<3,>=2\nflask<3,>=2\n"})
    assert one is not None
    assert other is not None
    assert (one, one.digest) == (other, other.digest)
    assert one.requirements == ("flask<3,>=2", 'ruamel-yaml[a,b]; python_version > "3"')


def test_the_digest_covers_requirements_and_python_but_not_where_they_stood() -> None:
    assert Dependencies("a\n", "", "x").digest == Dependencies("a\n", "", "y").digest
    assert Dependencies("a\n", "", "x").digest != Dependencies("b\n", "", "x").digest
    assert Dependencies("a\n", "", "x").digest != Dependencies("a\n", ">=3", "x").digest


def test_continued_lines_and_hashes_belong_to_their_requirement() -> None:
    found = find(
        {"requirements.txt": "six==1.16.0 \\\n    --hash=sha256:BB \\\n    --hash=sha256:aa\n# end \\\nflask\n"}
    )
    assert found is not None
    assert found.text == "flask\nsix==1.16.0 --hash=sha256:aa --hash=sha256:bb\n"
    assert found.requirements == ("flask", "six==1.16.0")
    assert found.hashed


def test_an_address_may_have_a_fragment() -> None:
    assert text_of("a @ https://x.example/a.zip#sha256=00 # note") == "a @ https://x.example/a.zip#sha256=00\n"


def test_included_files_are_read_from_the_package_once() -> None:
    files = {
        "main.py": b"",
        "requirements.txt": b"-r req/base.txt\n--requirement req/base.txt\nflask\n",
        "req/base.txt": b"-r ../requirements.txt\n-rmore.txt\n",
        "req/more.txt": b"attrs\n",
    }
    found = find_dependencies(files, entry="main.py", requirements=None)
    assert found == Dependencies("attrs\nflask\n", "", "requirements.txt")


def test_options_keep_their_order_before_the_requirements() -> None:
    written = (
        "flask\n--pre\n-i https://one.example/simple\n--extra-index-url=https://two.example\n--only-binary :all:\n"
    )
    assert text_of(written) == (
        "--pre\n--index-url https://one.example/simple\n--extra-index-url https://two.example\n"
        "--only-binary :all:\nflask\n"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("./vendor/x.whl", "requirements.txt: './vendor/x.whl' is not a requirement"),
        (".", "Nor is a path"),
        ("-e .", "--editable cannot be used here; put the code into the package itself"),
        ("--editable=.", "--editable cannot be used here"),
        ("-c constraints.txt", "--constraint cannot be used here; write the pinned versions"),
        ("--find-links /srv", "UV_FIND_LINKS"),
        ("--trusted-host a.example", "UV_INSECURE_HOST"),
        ("--config-settings x=y", "--config-settings cannot be used here; remove it"),
        ("-r missing.txt", "includes 'missing.txt', which is not in the package"),
        ("-r ../../etc/passwd", "which is not in the package"),
        ("-r /etc/passwd", "which is not in the package"),
        ("x @ file:///etc", "the address of x is none of https://"),
        ("x @ git+file:///srv/x", "the address of x is none of https://"),
        ("x @ http://a.example/x.zip", "the address of x is none of https://"),
        ("-i file:///srv/simple", "must be an https:// address"),
        ("-i /srv/simple", "must be an https:// address"),
        ("-i https://a.example https://b.example", "--index-url takes one value"),
        ("-i", "--index-url takes one value"),
        ("--pre yes", "--pre takes no value"),
        ("requests>=", "'requests>=' is not a requirement"),
        ("x==1 --hash=md5:00", "an option other than --hash=sha256"),
        ("x==1 --hash=sha256:zz", "an option other than --hash=sha256"),
        ("x==1 --global-option=y", "an option other than --hash=sha256"),
    ],
)
def test_what_cannot_be_built_later_is_refused_now(line: str, said: str) -> None:
    with pytest.raises(RequirementInvalid) as caught:
        find({"requirements.txt": f"flask\n{line}\n"})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"main.py": SCRIPT + SCRIPT}, "main.py has 2 blocks"),
        ({"main.py": "# /// script\n# dependencies = 3 =\n# ///\n"}, "block of main.py is not valid TOML"),
        (
            {"main.py": "# /// script\n# dependencies = 'x'\n# ///\n"},
            "main.py: 'dependencies' must be a list",
        ),
        ({"main.py": "# /// script\n# requires-python = 3.11\n# ///\n"}, "'requires-python' must be a text"),
        ({"main.py": "# /// script\n# requires-python = '3.11'\n# ///\n"}, "'3.11' is not a version range"),
        ({"pyproject.toml": "[project]\ndynamic = ['dependencies']\n"}, "must not be dynamic"),
        ({"pyproject.toml": "project = 3\n"}, "'project' must be a table"),
        ({"pyproject.toml": "[" * 5000}, "pyproject.toml"),
        ({"pyproject.toml": "a = " + "[" * 5000}, "nested too deeply"),
        ({"requirements.txt": b"\xff\xff"}, "requirements.txt is not UTF-8"),
        ({"requirements.txt": b"\xff\xfea"}, "requirements.txt is not UTF-8"),
        ({"requirements.txt": b"#" * (2**20 + 1)}, "it may have 1,048,576"),
    ],
)
def test_an_unreadable_source_is_named(files: Files, said: str) -> None:
    with pytest.raises(RequirementInvalid) as caught:
        find(files)
    assert said in str(caught.value)


def test_a_chain_of_includes_has_an_end() -> None:
    files = {f"{n}.txt": f"-r {n + 1}.txt".encode() for n in range(2000)}
    with pytest.raises(RequirementInvalid, match="more than 50 files include each other"):
        find_dependencies({**files, "requirements.txt": b"-r 0.txt"}, entry=None, requirements=None)


@given(st.text(max_size=300))
@example("0_")
def test_any_requirements_file_is_read_or_refused_and_canonical_text_is_stable(written: str) -> None:
    try:
        found = find({"requirements.txt": written.encode(errors="replace")})
    except RequirementInvalid:
        return
    if found:
        again = find({"requirements.txt": found.text})
        assert again == found
