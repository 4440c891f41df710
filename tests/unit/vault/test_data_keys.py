"""Opened data keys: few, not for long, whatever the threads do."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault.decrypt import DataKeys


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def key() -> AESGCM:
    return AESGCM(bytes(32))


def test_a_key_is_given_back_until_its_lifetime_is_over() -> None:
    clock = Clock()
    keys = DataKeys(lifetime=timedelta(minutes=5), clock=clock)
    kept = key()
    keys.put(b"a", kept)
    clock.now += 299.9
    assert keys.get(b"a") is kept
    clock.now += 0.1
    assert keys.get(b"a") is None
    assert len(keys) == 0


def test_using_a_key_does_not_prolong_its_life() -> None:
    clock = Clock()
    keys = DataKeys(lifetime=timedelta(seconds=10), clock=clock)
    keys.put(b"a", key())
    for _ in range(9):
        clock.now += 1
        assert keys.get(b"a") is not None
        keys.put(b"a", key())
    clock.now += 1
    assert keys.get(b"a") is None


def test_an_expired_key_leaves_without_being_asked_for() -> None:
    clock = Clock()
    keys = DataKeys(lifetime=timedelta(seconds=10), clock=clock)
    keys.put(b"a", key())
    clock.now += 5
    keys.put(b"b", key())
    clock.now += 5
    keys.expire()
    assert len(keys) == 1
    assert keys.get(b"b") is not None


def test_many_keys_are_given_together_while_all_are_held_and_count_as_used() -> None:
    clock = Clock()
    keys = DataKeys(limit=3, lifetime=timedelta(seconds=10), clock=clock)
    kept = {name: key() for name in (b"a", b"b", b"c")}
    for name, each in kept.items():
        keys.put(name, each)
    assert keys.get_all([b"b", b"a"]) == [kept[b"b"], kept[b"a"]]
    keys.put(b"d", key())
    assert keys.get_all([b"a", b"c"]) is None
    assert keys.get_all([b"a", b"b"]) is not None
    clock.now += 10
    assert keys.get_all([b"a"]) is None
    assert len(keys) == 0


def test_the_least_recently_used_key_makes_room() -> None:
    keys = DataKeys(limit=2)
    keys.put(b"a", key())
    keys.put(b"b", key())
    keys.get(b"a")
    keys.put(b"c", key())
    assert keys.get(b"b") is None
    assert keys.get(b"a") is not None
    assert keys.get(b"c") is not None


def test_a_key_that_made_room_and_came_back_lives_its_whole_lifetime() -> None:
    clock = Clock()
    keys = DataKeys(limit=1, lifetime=timedelta(seconds=10), clock=clock)
    keys.put(b"a", key())
    keys.put(b"b", key())
    clock.now += 9
    keys.put(b"a", key())
    clock.now += 9
    assert keys.get(b"a") is not None


def test_clear_drops_everything() -> None:
    keys = DataKeys()
    keys.put(b"a", key())
    keys.clear()
    assert keys.get(b"a") is None
    assert len(keys) == 0


def test_it_shows_how_many_keys_it_holds_and_none_of_them() -> None:
    keys = DataKeys(limit=3)
    keys.put(b"a", key())
    assert repr(keys) == "DataKeys(1 of 3)"


def test_threads_share_it_without_harm() -> None:
    keys = DataKeys(limit=8, lifetime=timedelta(microseconds=50))
    sealed = AESGCM(bytes(32)).encrypt(bytes(12), b"x", b"")

    def work(seed: int) -> None:
        for turn in range(3000):
            fingerprint = bytes([(seed * turn) % 32])
            held = keys.get(fingerprint)
            if held is None:
                keys.put(fingerprint, key())
            else:
                assert held.decrypt(bytes(12), sealed, b"") == b"x"
            if turn % 500 == 0:
                keys.clear()

    with ThreadPoolExecutor(max_workers=8) as pool:
        assert list(pool.map(work, range(1, 9))) == [None] * 8
    keys.expire()
    assert len(keys) <= 8
