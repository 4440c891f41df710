"""What the repository promises about itself: sizes, words, names, documents, and what the wheel carries."""

import ast
import hashlib
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT

PRODUCT = ("vault", "runner", "scheduler", "console", "cli", "sdk")
#: A plaintext may be named `secret` here and nowhere else.
PLAINTEXT_PLACES = ("vault/decrypt.py", "vault/reader.py", "runner/worker/", "sdk/")
VAGUE_MODULES = {"utils", "util", "helpers", "helper", "common", "core", "misc", "base", "managers"}
VAGUE_CLASS = re.compile(r"(Manager|Handler|Helper|Utils?|Base|Impl)$")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        found = sorted((ROOT / folder).rglob("*.py"))
        yield from (path for path in found if not {"__pycache__", ".venv"} & set(path.parts))


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def documents() -> list[Path]:
    return [path for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")) if path.is_file()]


def test_no_file_is_longer_than_400_lines() -> None:
    files = python_files(*PRODUCT, "tests", "benchmarks", "docs", "examples")
    lengths = {shown(path): len(path.read_text().splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    long = [
        f"{shown(path)}:{node.lineno} {node.name}"
        for path in python_files(*PRODUCT, "tests", "benchmarks", "docs", "examples")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= 60
    ]
    assert long == []


def test_no_module_or_class_has_a_name_that_says_nothing() -> None:
    modules = [
        shown(path)
        for path in python_files(*PRODUCT, "tests", "benchmarks")
        if {path.stem, path.parent.name} & VAGUE_MODULES
    ]
    classes = [
        f"{shown(path)}: {node.name}"
        for path in python_files(*PRODUCT)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and VAGUE_CLASS.search(node.name)
    ]
    assert modules + classes == []


def test_every_module_says_what_it_is() -> None:
    silent = [
        shown(path)
        for path in python_files(*PRODUCT, "benchmarks")
        if path.stat().st_size and ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert silent == []


def test_only_where_plaintexts_are_handled_is_anything_named_secret() -> None:
    offences = [
        f"{shown(path)}: {name}"
        for path in python_files(*PRODUCT)
        if not shown(path).startswith(PLAINTEXT_PLACES)
        for name in names_bound_in(ast.parse(path.read_text()))
        if "secret" in name.lower()
    ]
    assert offences == []


def names_bound_in(tree: ast.AST) -> Iterator[str]:
    """Every name that the code itself gives to a variable, attribute, parameter, function or import."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.arg(arg=name):
                yield name
            case ast.alias(asname=str(name)):
                yield name
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield name
            case _:
                pass


@pytest.mark.parametrize(
    "code",
    ["secret = 1", "def f(db_secret): ...", "class Secret: ...", "self.secrets = {}", "import a as secret"],
)
def test_the_search_for_the_word_finds_it(code: str) -> None:
    assert any("secret" in name.lower() for name in names_bound_in(ast.parse(code)))


def test_no_test_sleeps_but_in_wait_until() -> None:
    sleepers = [
        f"{shown(path)}:{node.lineno}"
        for path in python_files("tests")
        if path != ROOT / "tests" / "support.py" and "bots" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "sleep"
    ]
    assert sleepers == []


def test_the_sdk_imports_the_standard_library_only() -> None:
    allowed = sys.stdlib_module_names | {"botkeep"}
    foreign = [
        f"{shown(path)}: {module}"
        for path in python_files("sdk")
        for node in ast.walk(ast.parse(path.read_text()))
        for module in modules_imported_by(node)
        if module.partition(".")[0] not in allowed
    ]
    assert foreign == []


def modules_imported_by(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def test_the_sdk_can_be_imported_by_a_bare_interpreter() -> None:
    modules = [path.relative_to(ROOT / "sdk").with_suffix("") for path in python_files("sdk/botkeep")]
    names = [".".join(module.parts).removesuffix(".__init__") for module in modules]
    code = "import sys; from importlib import import_module; sys.path.insert(0, sys.argv[1]); "
    code += "[import_module(name) for name in sys.argv[2:]]"
    command = [sys.executable, "-I", "-S", "-c", code, str(ROOT / "sdk")]
    runnable = [name for name in names if not name.endswith("__main__")]
    subprocess.run([*command, *runnable], check=True)


def project() -> dict[str, dict[str, list[str]]]:
    table: dict[str, dict[str, list[str]]] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return table


def test_every_dependency_has_its_line_and_every_line_its_dependency() -> None:
    wanted = [*project()["project"]["dependencies"], *project()["dependency-groups"]["dev"]]
    names = {re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0] for requirement in wanted}
    explained = re.findall(r"^\| `([a-z0-9-]+)` \|", (ROOT / "docs" / "DEPENDENCIES.md").read_text(), re.MULTILINE)
    assert sorted(explained) == sorted(names)


def test_the_lock_file_names_no_host_and_holds_every_dependency_with_hashes() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"https?://|--index-url|--extra-index-url|--find-links", lock)
    pinned = set(re.findall(r"^([a-z0-9-]+)==\S+(?: ;[^\n\\]*)? \\\n    --hash=sha256:", lock, re.MULTILINE))
    wanted = [*project()["project"]["dependencies"], *project()["dependency-groups"]["dev"]]
    names = {re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0] for requirement in wanted}
    assert names - pinned == set()
    assert len(pinned) == len(re.findall(r"^\S+==", lock, re.MULTILINE))


def test_the_settings_page_is_what_the_settings_classes_say() -> None:
    command = [sys.executable, "docs/generate_settings.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("document", documents(), ids=shown)
def test_every_link_in_the_documents_leads_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    broken = [link for link in LINK.findall(text) if not leads_somewhere(document, link)]
    assert broken == []


def leads_somewhere(document: Path, link: str) -> bool:
    if re.match(r"[a-z]+:", link):
        return True
    name, _, anchor = link.partition("#")
    target = document.parent / name if name else document
    if not target.exists():
        return False
    return not anchor or anchor in anchors(target.read_text())


def anchors(text: str) -> set[str]:
    """The anchors of the headings, as the usual hosts derive them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def templates() -> list[Path]:
    return sorted((ROOT / "console" / "templates").rglob("*.html"))


def test_no_template_holds_script_or_style_or_marks_text_as_safe() -> None:
    # The pages' security policy would refuse the first two, silently; the last would let a bot's words become markup.
    forbidden = re.compile(
        r"\|\s*safe\b|\bstyle=|\son[a-z]+=|<style|<script(?![^>]*\bsrc=)|javascript:|autoescape", re.IGNORECASE
    )
    found = [
        f"{shown(path)}: {match[0]}"
        for path in templates()
        for match in forbidden.finditer(re.sub(r"\{#.*?#\}", "", path.read_text(), flags=re.DOTALL))
    ]
    assert found == []


def test_what_is_vendored_is_what_its_note_says() -> None:
    folder = ROOT / "console" / "static"
    noted = dict(
        re.findall(r"^\| `([\w.]+)` \|.*`([0-9a-f]{64})` \|$", (folder / "VENDORED.md").read_text(), re.MULTILINE)
    )
    assert set(noted) == {path.name for path in folder.glob("*.min.*")}
    assert noted == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in noted}


def test_the_wheel_carries_the_product_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"vault", "runner", "scheduler", "console", "cli", "botkeep"}
    assert "runner/migrations/env.py" in names
    assert any(re.fullmatch(r"runner/migrations/versions/\w+\.py", name) for name in names)
    assert {"console/templates/base.html", "console/static/app.css", "console/static/htmx.min.js"} <= set(names)
    assert any(name.endswith(".dist-info/entry_points.txt") for name in names)
    assert not [name for name in names if name.endswith((".pyc", ".key", ".db"))]
