"""What changed between two versions of a package."""

from runner.archive import Listed
from runner.package_diff import Side, compare


def file(digest: str, *, executable: bool = False) -> Listed:
    return {"size": len(digest), "digest": digest, "executable": executable}


def test_files_settings_and_requirements_are_compared() -> None:
    before = Side(
        {"a.py": file("1"), "b.py": file("2"), "c.sh": file("3"), "same.py": file("4")},
        {"entry": "a.py", "retries": {"limit": 0, "on": ["timeout"]}, "parameters": {"x": {"default": 1}}},
        {"text": "six==1\nrequests==2 --hash=sha256:aa\n--require-hashes"},
    )
    after = Side(
        {"a.py": file("9"), "c.sh": file("3", executable=True), "d.py": file("5"), "same.py": file("4")},
        {"entry": "a.py", "retries": {"limit": 3, "on": ["timeout"]}, "parameters": {}},
        {"text": "requests==2 --hash=sha256:bb\nhttpx==1"},
    )
    found = compare(before, after)
    assert found.files is not None
    changes = {change.name: change.word for change in found.files}
    assert changes == {"a.py": "changed", "b.py": "removed", "c.sh": "mode", "d.py": "added"}
    assert found.unchanged == 1
    settings = {change.name: (change.before, change.after) for change in found.settings}
    assert settings == {"retries.limit": (0, 3), "parameters.x.default": (1, None)}
    assert (found.added, found.removed) == (("httpx==1",), ("six==1",))


def test_versions_of_before_files_were_kept_are_compared_by_the_rest() -> None:
    found = compare(Side(None, {"entry": "a.py"}, None), Side({}, {"entry": "b.py"}, None))
    assert found.files is None
    assert [change.name for change in found.settings] == ["entry"]
