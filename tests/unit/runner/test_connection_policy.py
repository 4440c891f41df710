"""Where connections may go: judged by name and by the address that the name leads to, in whatever wrapping."""

from pathlib import PurePosixPath

import pytest

from runner.connection_policy import path_refusal, read_policy, refusal
from runner.errors import Invalid


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "255.255.255.255",
        "100.100.100.200",
        "ff02::1",
    ],
)
def test_link_local_metadata_and_special_addresses_are_refused_by_default(address: str) -> None:
    assert refusal(read_policy({}), "metadata.example", address) is not None
    assert refusal(read_policy({"allow": ["*", "metadata.example", "*.example"]}), "metadata.example", address)


def test_a_network_that_says_so_itself_opens_a_special_address() -> None:
    policy = read_policy({"allow": ["169.254.7.0/24"]})
    assert refusal(policy, "x", "169.254.7.9") is None
    assert refusal(policy, "x", "::ffff:169.254.7.9") is None
    assert refusal(policy, "x", "169.254.8.9") is not None
    assert refusal(read_policy({"allow": ["0.0.0.0/0", "::/0"]}), "x", "169.254.169.254") is not None


@pytest.mark.parametrize(
    ("allow", "deny", "host", "address", "allowed"),
    [
        (["*.corp.example"], [], "db.corp.example", "10.0.0.1", True),
        (["*.corp.example"], [], "DB.Corp.Example.", "10.0.0.1", True),
        (["*.corp.example"], [], "db.corp.example.evil.example", "10.0.0.1", False),
        (["*.corp.example"], [], "evilcorp.example", "10.0.0.1", False),
        (["10.0.0.0/8"], [], "anything", "10.1.2.3", True),
        (["10.0.0.0/8"], [], "anything", "::ffff:10.1.2.3", True),
        (["10.0.0.0/8"], [], "10.0.0.1.evil.example", "192.0.2.1", False),
        (["*"], ["10.0.0.0/8"], "db", "10.0.0.1", False),
        (["db"], ["db"], "db", "10.0.0.1", False),
        ([], [], "db", "10.0.0.1", False),
        (["2001:db8::/32"], [], "db", "2001:db8::1", True),
    ],
)
def test_a_host_is_allowed_by_its_name_or_by_its_address_unless_denied(
    allow: list[str], deny: list[str], host: str, address: str, *, allowed: bool
) -> None:
    assert (refusal(read_policy({"allow": allow, "deny": deny}), host, address) is None) is allowed


def test_files_are_read_below_the_folders_that_are_named_only() -> None:
    policy = read_policy({"paths": ["/srv/data"]})
    assert path_refusal(policy, PurePosixPath("/srv/data/a/b.db")) is None
    assert path_refusal(policy, PurePosixPath("/srv/database/b.db"))
    assert path_refusal(policy, PurePosixPath("/srv/data"))
    assert path_refusal(read_policy({}), PurePosixPath("/srv/data/b.db"))


@pytest.mark.parametrize(
    "wrong", [{"allow": ["a b"]}, {"deny": [""]}, {"paths": ["x"]}, {"paths": ["/a/../b"]}, {"x": []}, {"allow": "*"}]
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, list[str]]) -> None:
    with pytest.raises(Invalid):
        read_policy(wrong)
