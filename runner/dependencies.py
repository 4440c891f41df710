"""What a package depends on: pure rules from its files to one canonical text.

One source counts, the first that is there; sources are never merged:

1. `requirements` in bot.toml (an empty list says: none at all);
2. the PEP 723 block of the entry file (`# /// script`);
3. the conda file that a `robot.yaml` names, of which the part below `pip` counts (`runner.robots`);
4. `requirements.txt` in the top folder (`-r OTHER` is read from the package);
5. `[project] dependencies` of `pyproject.toml` in the top folder.

Promises that packages with the same requirements have the same canonical text, whatever their order, spacing
and comments, so that they share one virtual environment; and that a requirement nobody can build later is
refused when the package is added, naming file and line.
Refuses what lies outside the text and would escape its digest: local paths, editable installs, constraints.

    RunnerError
    └── Invalid
        └── RequirementInvalid
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidName, canonicalize_name

from runner import robots
from runner.errors import Invalid

#: Bytes of a file that declares dependencies; a lock with hashes of 500 packages has about 500 KB.
MAX_SIZE = 2**20

#: Requirements files that `-r` may lead to, the first one counted.
MAX_INCLUDES = 50

#: https://packaging.python.org/en/latest/specifications/inline-script-metadata/, reference implementation
_SCRIPT = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")

#: Options of a requirements file that say where and what to choose; all others are refused.
_FLAGS = {"--no-index", "--pre", "--require-hashes"}
_OPTIONS = _FLAGS | {"--index-url", "--extra-index-url", "--no-binary", "--only-binary"}
_SHORT = {"-i": "--index-url", "-c": "--constraint", "-e": "--editable", "-f": "--find-links"}


class RequirementInvalid(Invalid):
    """A declared dependency cannot be used; the message names the file and the line or the requirement."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The canonical dependencies of a package.

    `text` is a requirements file, `python` a version range (PEP 440) or "", `source` the file they come from.
    """

    text: str
    python: str
    source: str

    @property
    def requirements(self) -> tuple[str, ...]:
        """The requirements, without options and hashes."""
        return tuple(line.split(" --hash=")[0] for line in self.text.splitlines() if not line.startswith("-"))

    @property
    def hashed(self) -> bool:
        """Whether every package has to match a hash. As with pip, one hash asks for all of them."""
        return " --hash=" in self.text or "--require-hashes" in self.text.splitlines()

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of everything but `source`."""
        return hashlib.sha256(f"{self.python}\n{self.text}".encode()).hexdigest()


def find_dependencies(
    files: Mapping[str, bytes], *, entry: str | None, requirements: Sequence[str] | None
) -> Dependencies | None:
    """Finds the dependencies among a package's `files` (name to content); None when nothing is asked for.

    `entry` is the Python file that is started, `requirements` the list of that name in bot.toml.

    Raises:
        RequirementInvalid: a source that counts cannot be read, or asks for something refused.
    """
    found = _from_manifest(requirements) or _from_script(files, entry) or _from_files(files)
    return found if found and (found.text or found.python) else None


def _from_files(files: Mapping[str, bytes]) -> Dependencies | None:
    return _from_robot(files) or _from_text(files) or _from_project(files)


def _from_robot(files: Mapping[str, bytes]) -> Dependencies | None:
    found = robots.requirements(files) if robots.FILE in files else None
    if found is None:
        return None
    listed, python, source = found
    return _canonical(listed, python=python, source=source)


def _from_manifest(requirements: Sequence[str] | None) -> Dependencies | None:
    if requirements is None:
        return None
    return _canonical(requirements, python="", source="bot.toml")


def _from_script(files: Mapping[str, bytes], entry: str | None) -> Dependencies | None:
    if entry is None or b"# /// script" not in files[entry]:
        return None
    text = files[entry].decode("utf-8-sig", errors="replace").replace("\r\n", "\n")
    blocks = [match["content"] for match in _SCRIPT.finditer(text) if match["type"] == "script"]
    if not blocks:
        return None
    if len(blocks) > 1:
        raise RequirementInvalid(f"{entry} has {len(blocks)} blocks '# /// script'; keep one.")
    content = "\n".join(line[2:] if line.startswith("# ") else line[1:] for line in blocks[0].splitlines())
    table = _toml(content, f"the '# /// script' block of {entry}")
    return _from_table(table, source=entry)


def _from_text(files: Mapping[str, bytes]) -> Dependencies | None:
    name = "requirements.txt"
    if name not in files:
        return None
    return _canonical(_lines(files, name, set()), python="", source=name)


def _from_project(files: Mapping[str, bytes]) -> Dependencies | None:
    name = "pyproject.toml"
    if name not in files:
        return None
    project = _toml(_decoded(files[name], name), name).get("project", {})
    if not isinstance(project, dict):
        raise RequirementInvalid(f"{name}: 'project' must be a table.")
    dynamic = project.get("dynamic", [])
    if isinstance(dynamic, list) and "dependencies" in dynamic:
        raise RequirementInvalid(f"{name}: dependencies must not be dynamic; list them under [project] dependencies.")
    return _from_table(project, source=name)


def _from_table(table: Mapping[str, object], *, source: str) -> Dependencies:
    listed, python = table.get("dependencies", []), table.get("requires-python", "")
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise RequirementInvalid(f"{source}: 'dependencies' must be a list of texts.")
    if not isinstance(python, str):
        raise RequirementInvalid(f"{source}: 'requires-python' must be a text such as '>=3.11'.")
    return _canonical(listed, python=python, source=source)


def _canonical(lines: Iterable[str], *, python: str, source: str) -> Dependencies:
    """Options keep their order, for the first index wins; requirements are sorted and said once."""
    options, requirements = [], set()
    for line in lines:
        if line.lstrip().startswith("-"):
            options.append(_option(line.split(), source))
        else:
            requirements.add(_requirement(line, source))
    try:
        versions = str(SpecifierSet(python))
    except InvalidSpecifier:
        raise RequirementInvalid(f"{source}: {python[:100]!r} is not a version range such as '>=3.11'.") from None
    ordered = [*dict.fromkeys(options), *sorted(requirements)]
    return Dependencies(text="".join(f"{line}\n" for line in ordered), python=versions, source=source)


def _requirement(line: str, source: str) -> str:
    words, *hashes = re.split(r"\s+--hash[=\s]\s*", line.strip())
    if " --" in words or any(not re.fullmatch(r"sha(256|384|512):[0-9a-fA-F]+", item) for item in hashes):
        raise RequirementInvalid(f"{source}: {line[:200]!r} has an option other than --hash=sha256:….")
    try:
        requirement = Requirement(words)
        # `Requirement` takes a name that ends in punctuation, which PEP 508 does not.
        requirement.name = canonicalize_name(requirement.name, validate=True)
    except (InvalidRequirement, InvalidName):
        raise RequirementInvalid(
            f"{source}: {words[:200]!r} is not a requirement such as 'requests>=2'. Nor is a path: "
            "put the bot's own code into the package, everything else on a package index."
        ) from None
    if requirement.url and not re.match(r"(?:git\+)?(?:https|ssh)://", requirement.url):
        raise RequirementInvalid(
            f"{source}: the address of {requirement.name} is none of https://, git+https:// and git+ssh://. "
            "A local file may change after the package was added; publish it on a package index."
        )
    return " --hash=".join([str(requirement), *sorted({item.lower() for item in hashes})])


def _option(words: list[str], source: str) -> str:
    name, _, joined = words[0].partition("=")
    name = _SHORT.get(name, name)
    values = ([joined] if joined else []) + words[1:]
    if name not in _OPTIONS:
        raise RequirementInvalid(f"{source}: {name} cannot be used here; {_advice(name)}")
    if len(values) != (name not in _FLAGS):
        raise RequirementInvalid(f"{source}: {name} takes {'no' if name in _FLAGS else 'one'} value.")
    if name.endswith("index-url") and not re.match(r"https?://", values[0]):
        raise RequirementInvalid(f"{source}: {name} must be an https:// address, not a place on one machine.")
    return " ".join([name, *values])


def _advice(name: str) -> str:
    return {
        "--editable": "put the code into the package itself.",
        "--constraint": "write the pinned versions as requirements.",
        "--trusted-host": "the runner's operator names such a host with UV_INSECURE_HOST.",
        "--find-links": "the runner's operator names such a place with UV_FIND_LINKS.",
    }.get(name, "remove it.")


def _lines(files: Mapping[str, bytes], name: str, seen: set[str]) -> Iterator[str]:
    """The logical lines of a requirements file: comments gone, continued lines joined, `-r` followed once."""
    seen.add(name)
    if len(seen) > MAX_INCLUDES:
        raise RequirementInvalid(f"{name}: more than {MAX_INCLUDES} files include each other; write one file.")
    text = re.sub(r"(?m)^[ \t]*#.*$", "", _decoded(files[name], name))
    for line in re.sub(r"[ \t]*\\\r?\n[ \t]*", " ", text).splitlines():
        bare = re.sub(r"(^|\s+)#.*$", "", line).strip()
        included = re.fullmatch(r"(?:-r\s*|--requirement[=\s]\s*)(\S.*)", bare)
        if not included:
            yield from [bare] if bare else []
            continue
        other = posixpath.normpath(posixpath.join(posixpath.dirname(name), included[1]))
        if other not in files:
            raise RequirementInvalid(f"{name}: includes {included[1][:200]!r}, which is not in the package.")
        if other not in seen:
            yield from _lines(files, other, seen)


def _decoded(content: bytes, name: str) -> str:
    if len(content) > MAX_SIZE:
        raise RequirementInvalid(f"{name} has {len(content):,} bytes; it may have {MAX_SIZE:,}.")
    # `pip freeze > requirements.txt` in a Windows shell writes UTF-16 with a byte order mark.
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        raise RequirementInvalid(f"{name} is not UTF-8; save it as UTF-8.") from None


def _toml(text: str, name: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, or a number of more digits than Python reads
        raise RequirementInvalid(f"{name} is not valid TOML: {error}.") from None
    except RecursionError:
        raise RequirementInvalid(f"{name} is nested too deeply.") from None
