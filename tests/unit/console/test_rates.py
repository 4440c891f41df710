"""Token buckets; time is given."""

from console import rates
from console.rates import Buckets


def test_a_bucket_gives_what_a_minute_brings_and_then_says_when() -> None:
    buckets = Buckets()
    assert [buckets.take("a", per_minute=2, now=0.0) for _ in range(2)] == [0.0, 0.0]
    assert buckets.take("a", per_minute=2, now=0.0) == 30.0
    assert buckets.empty("a", per_minute=2, now=29.0)
    assert not buckets.empty("a", per_minute=2, now=31.0)
    assert buckets.take("a", per_minute=2, now=31.0) == 0.0


def test_one_key_does_not_use_up_another_and_a_full_bucket_holds_a_minute() -> None:
    buckets = Buckets()
    for _ in range(3):
        buckets.take("a", per_minute=3, now=0.0)
    assert buckets.take("b", per_minute=3, now=0.0) == 0.0
    assert [bool(buckets.take("a", per_minute=3, now=1e6)) for _ in range(4)] == [False, False, False, True]


def test_of_too_many_keys_the_oldest_is_forgotten() -> None:
    buckets = Buckets()
    for number in range(rates.MOST + 10):
        buckets.take(number, per_minute=1, now=0.0)
    assert len(buckets._buckets) == rates.MOST
    assert not buckets.empty(0, per_minute=1, now=0.0)
    assert buckets.empty(rates.MOST, per_minute=1, now=0.0)
