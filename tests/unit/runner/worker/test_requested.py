"""What a bot names while it runs is masked, within bounds."""

import pytest

from runner.worker import requested as module
from runner.worker.masker import MASK, Masker
from runner.worker.requested import LARGEST, Requested, TooMuch


def test_a_value_is_masked_from_then_on_in_every_encoding() -> None:
    masker = Masker([("SAP.PASSWORD", b"hunter2!")])
    asked = Requested(masker)

    assert asked.mask(b"session&token 7")

    assert masker.mask(b"hunter2! session&amp;token 7 session%26token+7") == b"*** *** ***"
    assert list(asked.warnings()) == []


@pytest.mark.parametrize("value", [b"", b"471", b"  \n", b"****"])
def test_a_weak_value_is_a_warning_and_no_form(value: bytes) -> None:
    masker = Masker()
    asked = Requested(masker)

    assert not asked.mask(value)

    assert masker.size == 0
    assert list(asked.warnings()) == ["The bot named one value too short to be masked in the log (`botkeep.mask`)."]


def test_a_value_beyond_a_bound_is_refused_and_the_others_stay_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    masker = Masker()
    asked = Requested(masker)
    for number in range(3):
        assert asked.mask(f"session-token-{number}".encode())

    with pytest.raises(TooMuch, match="named 3 values already"):
        asked.mask(b"session-token-3")
    with pytest.raises(TooMuch):
        asked.mask(b"session-token-4")

    assert asked.mask(b"session-token-1")  # named before
    assert masker.mask(b"session-token-2 session-token-3") == MASK + b" session-token-3"
    assert list(asked.warnings()) == ["The bot named more than one job may: 2 values not masked (`botkeep.mask`)."]


def test_many_forms_count_like_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FORMS", 100)
    asked = Requested(Masker())
    asked.mask("\n".join(f"line-{number:04d}&<>" for number in range(50)).encode())

    with pytest.raises(TooMuch):
        asked.mask(b"session-token-1")


def test_a_large_value_is_refused_without_being_shown() -> None:
    with pytest.raises(TooMuch) as caught:
        Requested(Masker()).mask(b"canary" * LARGEST)
    assert "canary" not in str(caught.value)
