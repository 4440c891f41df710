"""Where values that must be files lie: in memory, and beside what bots may use."""

from pathlib import Path

from runner.worker import memory_folder


def line(place: Path | str, kind: str) -> str:
    escaped = str(place).replace(" ", "\\040")
    return f"24 1 0:22 / {escaped} rw,nosuid shared:2 - {kind} none rw"


def test_the_service_managers_folder_comes_first_then_the_users(tmp_path: Path) -> None:
    of_service, of_user = tmp_path / "a service's", tmp_path / "user"
    of_service.mkdir()
    of_user.mkdir()
    mounts = "\n".join((line("/", "ext4"), line(tmp_path, "tmpfs")))
    environ = {"RUNTIME_DIRECTORY": f"{of_service}:/run/other", "XDG_RUNTIME_DIR": str(of_user)}
    assert memory_folder.folder(environ, mounts=mounts) == of_service
    assert memory_folder.folder({"XDG_RUNTIME_DIR": str(of_user)}, mounts=mounts) == of_user


def test_a_folder_on_a_disk_is_passed_over(tmp_path: Path) -> None:
    mounts = "\n".join((line("/", "tmpfs"), line(tmp_path, "ext4"), line("/dev/shm", "tmpfs")))
    found = memory_folder.folder({"RUNTIME_DIRECTORY": str(tmp_path), "XDG_RUNTIME_DIR": "/no/such"}, mounts=mounts)
    assert found == Path("/dev/shm")


def test_of_two_mounts_at_one_place_the_later_one_counts(tmp_path: Path) -> None:
    place = tmp_path / "with a space"
    place.mkdir()
    environ = {"RUNTIME_DIRECTORY": str(place)}
    assert memory_folder.folder(environ, mounts="\n".join((line(place, "ext4"), line(place, "ramfs")))) == place
    assert memory_folder.folder(environ, mounts="\n".join((line(place, "ramfs"), line(place, "ext4")))) is None


def test_a_host_without_memory_says_so() -> None:
    assert memory_folder.folder({}, mounts=line("/", "ext4")) is None
