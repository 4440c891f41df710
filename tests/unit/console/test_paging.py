"""Pages of short lists."""

from hypothesis import given, settings
from hypothesis import strategies as st

from console.paging import cut


@settings(deadline=None)
@given(st.sets(st.text(max_size=4), max_size=30), st.integers(min_value=1, max_value=7))
def test_pages_together_are_the_list(names: set[str], limit: int) -> None:
    seen: list[str] = []
    after = None
    while True:
        page, after = cut(names, key=str, limit=limit, after=after)
        assert len(page) <= limit
        seen += page
        assert len(seen) <= len(names)
        if after is None:
            break
        assert len(page) == limit
    assert seen == sorted(names)


def test_what_is_added_or_removed_between_two_pages_shifts_nothing() -> None:
    first, after = cut(["a", "c", "e", "g"], key=str, limit=2, after=None)
    second, _ = cut(["b", "e", "g"], key=str, limit=2, after=after)
    assert (list(first), list(second)) == (["a", "c"], ["e", "g"])
