"""A build trusts what the machine trusts, where it trusts anything, and is given the variables it needs."""

from pathlib import Path

from runner.worker.environments import allowed
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


def test_what_a_build_needs_is_let_through_and_nothing_else() -> None:
    through = ["PATH", "LC_ALL", "UV_INDEX_URL", "PIP_INDEX_URL", "https_proxy", "NO_PROXY", "SSL_CERT_FILE"]
    kept = ["", "HOME", "path", "PATHX", "XPATH", "PATH\n", "LD_PRELOAD", "PYTHONPATH", "KLANGO_ASSET_A_B"]
    kept += ["BOTKEEP_HOME", "UV_", "XUV_INDEX", "uv_index", "UV_PUBLISH_TOKEN", "UV_NO_VERIFY_HASHES", "UV_PYTHON"]
    assert list(allowed(dict.fromkeys([*through, *kept], "x"))) == through
