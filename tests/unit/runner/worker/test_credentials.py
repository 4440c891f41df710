"""Passwords that a build is given are found where operators and packages write them."""

from runner.dependencies import Dependencies
from runner.worker import credentials
from runner.worker.masker import Masker


def test_passwords_in_variables_and_requirements_are_masked_in_a_build_s_output() -> None:
    environ = {
        "UV_INDEX_URL": "https://robot:pa%24%24w0rd@packages.example.org/simple",
        "UV_INDEX_MAIN_PASSWORD": "hunter2!hunter2!",
        "UV_LINK_MODE": "copied",
        "HTTPS_PROXY": "http://proxy-token-17@proxy.example.org:3128",
        "PATH": "/usr/bin",
        "UV_PUBLISH_TOKEN": "471",
    }
    required = Dependencies(
        text="erp @ git+https://oauth2:gl-token-1234@git.example.org/erp.git\n", source="x", python=""
    )
    masker = Masker(credentials.given(environ, required))

    said = masker.mask_text(
        "https://robot:pa%24%24w0rd@packages.example.org pa$$w0rd hunter2!hunter2! proxy-token-17 gl-token-1234 copied"
    )

    assert said == "https://robot:***@packages.example.org *** *** *** *** copied"
    assert masker.weak == ()


def test_without_passwords_there_is_nothing_to_mask() -> None:
    environ = {"PATH": "/usr/bin", "UV_INDEX_URL": "https://packages.example.org/simple@2"}
    assert credentials.given(environ, None) == []
