"""A build trusts what the machine trusts, where it trusts anything."""

from pathlib import Path

from runner.worker.trust import system_certificates

TRUSTED = {"UV_SYSTEM_CERTS": "true"}


def test_the_machines_certificates_are_trusted_where_it_has_some(tmp_path: Path) -> None:
    bundle, folder, empty = tmp_path / "cert.pem", tmp_path / "certs", tmp_path / "empty"
    bundle.touch()
    folder.mkdir()
    (folder / "0a1b2c3d.0").touch()
    empty.mkdir()
    assert system_certificates(str(bundle), str(empty)) == TRUSTED
    assert system_certificates(str(tmp_path / "none"), str(folder)) == TRUSTED
    assert system_certificates(str(tmp_path / "none"), str(empty)) == {}
    assert system_certificates(str(tmp_path / "none"), str(tmp_path / "none")) == {}
