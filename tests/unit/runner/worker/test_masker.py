"""Values disappear from what is written, however it is cut; everything else stays."""

import threading
import tracemalloc

import pytest

from runner.worker import matcher as module
from runner.worker.masker import MASK, WINDOW, Masker, Stream
from runner.worker.matcher import CROWD, HEAD

#: How a matcher looks for forms: the values of its constants FEW and BY_HAND.
WAYS = {
    "few heads one by one": (module.FEW, module.BY_HAND),
    "always an automaton": (-1, 0),
    "by hand until a form begins": (-1, 1 << 30),
}


@pytest.fixture(autouse=True, params=WAYS)
def _each_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    few, by_hand = WAYS[request.param]
    monkeypatch.setattr(module, "FEW", few)
    monkeypatch.setattr(module, "BY_HAND", by_hand)


def masker(*values: bytes) -> Masker:
    return Masker((f"G.V{number}", value) for number, value in enumerate(values))


def streamed(mask: Masker, *writes: bytes) -> list[bytes]:
    stream = Stream(mask)
    return [*(stream.feed(write) for write in writes), stream.flush()]


def bytewise(mask: Masker, data: bytes) -> bytes:
    return b"".join(streamed(mask, *(data[at : at + 1] for at in range(len(data)))))


CASES = [
    ("one value", (b"hunter2!",), b"a hunter2! b", b"a *** b"),
    ("twice", (b"hunter2!",), b"hunter2! hunter2!", b"*** ***"),
    ("adjacent values are one mask", (b"alpha1", b"beta22"), b"<alpha1beta22>", b"<***>"),
    ("adjacent repeats are one mask", (b"alpha1",), b"<alpha1alpha1alpha1>", b"<***>"),
    ("overlapping values hide all", (b"1234abcd", b"abcd5678"), b"<1234abcd5678>", b"<***>"),
    ("overlapping with itself", (b"abcabc",), b"<abcabcabc>", b"<***>"),
    ("a value inside another", (b"2345", b"x12345678x"), b"<x12345678x><2345>", b"<***><***>"),
    ("the longer of two that begin alike", (b"abcd", b"abcdefgh"), b"<abcdefgh><abcdefg>", b"<***><***efg>"),
    ("a beginning that is none", (b"abcdefgh",), b"abcdefg abcdefg", b"abcdefg abcdefg"),
    ("a false start inside a value", (b"aabaac",), b"<aabaabaac>", b"<aab***>"),
    ("a value begun inside another that fails", (b"abcdX", b"bcdYZ"), b"<abcdYZ>", b"<a***>"),
    ("nothing to mask", (), b"anything", b"anything"),
    ("only weak values", (b"abc", b"", b"   "), b"abc    ", b"abc    "),
    ("asterisks stay", (b"hunter2!",), b"** hunter2!*", b"** ****"),
    ("invalid UTF-8 and NUL pass", (b"hunter2!",), b"\xff\x00hunter2!\xfe", b"\xff\x00***\xfe"),
    ("a value that is not UTF-8", (b"\xff\xfe\xfd\xfc",), b"a\xff\xfe\xfd\xfcb", b"a***b"),
]


@pytest.mark.parametrize(("values", "data", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_masked_in_one_write_and_byte_by_byte(values: tuple[bytes, ...], data: bytes, expected: bytes) -> None:
    mask = masker(*values)

    assert mask.mask(data) == expected
    assert bytewise(mask, data) == expected


@pytest.mark.parametrize("cut", range(1, 14))
def test_two_writes_give_what_one_gives(cut: int) -> None:
    mask = masker(b"1234abcd", b"abcd5678")

    assert b"".join(streamed(mask, b" 1234abcd5678 "[:cut], b" 1234abcd5678 "[cut:])) == b" *** "


def test_a_finished_line_passes_at_once() -> None:
    mask = masker(b"hunter2!", b"hello\nworld\n1234")

    assert streamed(mask, b"hunter\n", b"done hunter2!\n", b"") == [b"hunter\n", b"done ***\n", b"", b""]


def test_only_a_possible_beginning_is_held_back() -> None:
    mask = masker(b"hunter2!long-enough-for-more-than-a-head")

    assert streamed(mask, b"say hunt", b"ing ", b"hunter2!long-enough-for-", b"less") == [
        b"say ", b"hunting ", b"", b"hunter2!long-enough-for-less", b"",
    ]  # fmt: skip


def test_a_mask_is_written_as_soon_as_it_is_certain() -> None:
    mask = masker(b"abcdef", b"abcdefghijkl")

    assert streamed(mask, b"<abcdef", b"gh", b"ijkl", b">") == [b"<***", b"", b"", b">", b""]
    assert streamed(mask, b"<abcdef", b"gh", b">") == [b"<***", b"", b"gh>", b""]


def test_flush_gives_the_rest_and_the_stream_starts_anew() -> None:
    stream = Stream(masker(b"hunter2!"))

    assert stream.feed(b"hunter2!hunt") == MASK
    assert stream.flush() == b"hunt"
    assert stream.feed(b"hunter2!") + stream.flush() == MASK
    assert stream.feed(b"hunter2!") + stream.flush() == MASK


def test_weak_values_are_listed_in_order_and_the_others_masked() -> None:
    mask = Masker([("A.EMPTY", b""), ("A.OK", b"hunter2!"), ("A.PIN", b"471"), ("A.SPACE", b" \n ")])

    assert mask.weak == ("A.EMPTY", "A.PIN", "A.SPACE")
    assert mask.mask(b"471 hunter2!") == b"471 ***"


@pytest.mark.parametrize("value", [b"abcd*", b"*abcd", b"**abcd**", b"abcd***efgh", b"abc\\***defgh"])
def test_the_mask_never_completes_a_value(value: bytes) -> None:
    mask = masker(value, b"hunter2!")
    trap = value.replace(b"***", b"hunter2!") if b"***" in value else value.replace(b"*", b"hunter2!")

    assert value not in mask.mask(trap)
    assert mask.mask(b"<" + value + b">") == b"<***>"
    assert mask.mask(trap) == bytewise(mask, trap)


def test_values_that_turn_up_later_are_masked_from_then_on() -> None:
    stream = Stream(Masker([("A.OLD", b"hunter2!"), ("A.PIN", b"2")]))
    before = stream.feed(b"s3cr3t-2 hunter2! ")

    stream.masker = Masker([("B.NEW", b"s3cr3t-2"), ("B.PIN", b"1")], beside=stream.masker)

    assert before + stream.feed(b"s3cr3t-2 hunter2!") + stream.flush() == b"s3cr3t-2 *** *** ***"
    assert stream.masker.weak == ("A.PIN", "B.PIN")


def test_a_value_begun_before_its_masker_came_is_caught_when_it_was_held() -> None:
    stream = Stream(masker(b"hunter2!"))
    before = stream.feed(b"hunt")

    stream.masker = Masker([("B.NEW", b"hunting-1")], beside=stream.masker)

    assert before + stream.feed(b"ing-1") + stream.flush() == MASK


def test_text_keeps_what_no_encoding_can_hold() -> None:
    mask = masker(b"hunter2!", b"pass\xffword")

    assert mask.mask_text("a hunter2! é") == "a *** é"
    assert mask.mask_text("\ud800 \udcff plain") == "\ud800 \udcff plain"
    assert mask.mask_text("pass\udcffword") == "***"
    assert mask.mask_text("pass\ufffdword") == "***"
    assert "hunter2!" not in mask.mask_text("\ud800 hunter2!")


def test_values_of_a_crowd_that_begins_alike_are_told_apart() -> None:
    prefix = b"https://bots.example.org/token/"
    values = [prefix + f"{number:05d}".encode() for number in range(CROWD * 20)] + [prefix[:HEAD], prefix[: HEAD * 2]]
    mask = masker(*values[: CROWD * 20])

    assert mask.mask(b" ".join(values[: CROWD * 20])) == b" ".join([MASK] * CROWD * 20)
    assert mask.mask(prefix + b"0x001") == prefix + b"0x001"
    assert bytewise(mask, b"<" + values[3] + b"> " + prefix + b"0000") == b"<***> " + prefix + b"0000"
    assert max(map(len, mask._matchers[0]._table.groups)) <= CROWD
    assert masker(*values).mask(prefix) == MASK + prefix[HEAD * 2 :]


def test_a_dfa_takes_over_without_a_change_in_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FASTER_AFTER", 5_000)
    mask = masker(b"hunter2!", b"hunter2!hunter3!")
    data = b"a hunter2! b hunter2!hunter3! c " * 40
    mask.mask(data[: len(data) // 2])
    first = mask._matchers[0]._automaton

    outputs = {mask.mask(data) for _ in range(5)}

    assert outputs == {b"a *** b *** c " * 40}
    assert mask._matchers[0]._automaton is not first


def test_no_automaton_is_made_for_a_value_and_a_few_lines() -> None:
    mask = masker(b"hunter2!")

    assert mask.mask(b"a hunter2! b\n" * 60) == b"a *** b\n" * 60
    assert (mask._matchers[0]._automaton is None) == (module.FEW > 0)
    assert mask.mask(b"a hunter2! b\n" * 600) == b"a *** b\n" * 600
    assert mask._matchers[0]._automaton is not None


def test_a_value_of_many_kilobytes_is_one_mask_in_any_encoding() -> None:
    value = bytes(33 + (number * number + number // 7) % 90 for number in range(20_000))
    mask = masker(value)

    for written in (value, value.hex().encode(), value.hex().upper().encode()):
        assert mask.mask(b"<" + written + b">") == b"<***>"


def test_memory_does_not_grow_with_a_line_that_never_ends() -> None:
    mask = masker(b"hunter2!", b"abcdefgh" * 4)
    stream = Stream(mask)
    data = (b"abcdefgh" * 3 + b"x hunter2! ") * (40 * WINDOW // 35)
    stream.feed(data[:WINDOW])
    tracemalloc.start()
    stream.feed(data)
    largest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    # What comes out, in parts and joined, and the matches of one window, which take five times its size.
    assert largest < 2 * len(data) + 16 * WINDOW
    assert len(stream._held) < max(map(len, mask.forms))


def test_a_quarter_megabyte_without_a_line_break_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    searched = 0
    search = module.Matcher._heads_in

    def counted(matcher: module.Matcher, buffer: bytes) -> list[tuple[int, int, int]]:
        nonlocal searched
        searched += len(buffer)
        return search(matcher, buffer)

    monkeypatch.setattr(module.Matcher, "_heads_in", counted)
    line = b"2026-08-01 INFO processed invoice 4711 of customer 815 hunter2 in 12 ms "
    stream = masker(b"hunter2!", b"Tr0ub4dor&3").stream()

    for _ in range(4_096):
        stream.feed(line)

    assert searched < 1.01 * len(line) * 4_096


def test_values_are_added_while_a_stream_runs() -> None:
    mask = masker(b"hunter2!")
    stream = mask.stream()
    before = stream.feed(b"token-7-begun ")

    mask.add([("B.NEW", b"token-7-begun"), ("B.PIN", b"1"), ("B.AGAIN", b"hunter2!")])

    assert (
        before + stream.feed(b"token-7-begun hunter2! token-7-") + stream.flush() == b"token-7-begun *** *** token-7-"
    )
    assert mask.weak == ("B.PIN",)
    assert mask.mask(b"token-7-begun") == MASK


def test_what_is_held_is_looked_at_anew_when_a_value_is_added() -> None:
    mask = masker(b"hunter2!")
    stream = mask.stream()
    before = stream.feed(b"hunt")

    mask.add([("B.NEW", b"hunting-1")])

    assert before + stream.feed(b"ing-1") + stream.flush() == MASK


def test_values_added_one_by_one_or_at_once_are_masked_alike() -> None:
    values = [f"token-{number * 7919:06d}-end".encode() for number in range(200)]
    mask = masker(*values[:20])

    for number, value in enumerate(values[20:]):
        mask.add([(f"B.N{number}", value)])

    assert len(mask._matchers) <= 2
    assert mask.forms == masker(*values).forms
    assert mask.mask(b"|".join(values)) == b"|".join([MASK] * 200)


def test_what_was_added_already_costs_no_new_matcher() -> None:
    mask = masker(b"hunter2!")
    mask.add([("B.NEW", b"token-7-begun")])
    matchers = mask._matchers

    mask.add([("B.NEW", b"token-7-begun"), ("B.OLD", b"hunter2!")])

    assert mask._matchers is matchers


def test_overlaps_of_old_and_added_values_become_one_mask() -> None:
    mask = masker(b"1234abcd")
    mask.add([("B.NEW", b"abcd5678")])

    assert mask.mask(b"<1234abcd5678>") == b"<***>"
    assert bytewise(mask, b"<1234abcd5678>") == b"<***>"


def test_threads_add_values_while_others_mask() -> None:
    mask = masker(b"hunter2!")
    values = [[f"thread-{thread}-{number:04d}".encode() for number in range(40)] for thread in range(4)]
    broken: list[bytes] = []

    def add(mine: list[bytes]) -> None:
        stream = mask.stream()
        for value in mine:
            mask.add([("B.NEW", value)])
            masked = stream.feed(b"<" + value + b" hunter2!>") + stream.flush()
            if masked != b"<*** ***>":
                broken.append(masked)

    threads = [threading.Thread(target=add, args=(mine,)) for mine in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert broken == []
    assert mask.mask(b" ".join(value for mine in values for value in mine)) == b" ".join([MASK] * 160)


def test_a_beginning_that_a_crowd_shares_is_held_until_it_is_told_apart() -> None:
    values = [b"https://bots.example.org/" + f"{number:03d}".encode() for number in range(CROWD * 2)]
    mask = masker(*values)

    assert streamed(mask, b"see https://bots.exam", b"ple.com and https://bo", b"ts.example.org/004!") == [
        b"see ", b"https://bots.example.com and ", b"***!", b"",
    ]  # fmt: skip
    assert b"https://" not in mask._matchers[0]._table.heads
