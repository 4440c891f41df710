"""How fast values disappear from a log: MB/s beside `cat` and the naive loop, and the time until it is ready, which is
what the first chunk takes longer than it does later.

    python -m benchmarks masker [-- --json --megabytes N]

Realistic lines that hold no value (the usual case) and, as `with hits`, a value in every tenth line; `one line` is
the same text in lines of 256 KB. Every figure is the best of its rounds, all in this process and one after another, so
the ratios compare like with like. All but `cat` is processor time, so that other work on the machine does not
count. Non-zero when a figure misses what was asked for.
"""

import argparse
import base64
import json
import random
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable

from runner.worker.masker import MASK, Masker, Stream

CHUNK = 1 << 16
ROUNDS = 3
#: Bytes of a line that is long.
LONG = 256 * 1024

#: What issue and design ask for: least MB/s by number of values, and most milliseconds until 1,000 are ready.
LEAST_SPEED = {100: 300, 1_000: 120}
MOST_MILLISECONDS = {1_000: 30}
#: The least share of the speed that long lines have; what is below is no noise of the machine.
LONG_LINE = 0.8


def values(count: int, *, seed: int = 7) -> list[bytes]:
    """Tokens, generated passwords, base64 keys and connection strings, as a vault holds them."""
    dice = random.Random(seed)
    letters = string.ascii_letters + string.digits

    def value() -> str:
        kind = dice.random()
        if kind < 0.5:
            return "".join(dice.choices(letters, k=dice.randint(16, 40)))
        if kind < 0.8:
            return "".join(dice.choices(letters + "!#$%&*+-/=?@", k=dice.randint(12, 24)))
        if kind < 0.9:
            return base64.b64encode(dice.randbytes(30)).decode()
        scheme = dice.choice(("https", "postgresql"))  # the log has `https://` in every line
        return f"{scheme}://bot:{dice.getrandbits(64):x}@db{dice.randint(1, 99)}.example.org/erp?sslmode=require"

    return [value().encode() for _ in range(count)]


def lines(size: int, *, seed: int = 11, hits: Iterable[bytes] = ()) -> bytes:
    """About `size` bytes of a bot's log; each of `hits` in turn ends every tenth line."""
    dice = random.Random(seed)
    shown = list(hits)
    written: list[bytes] = []
    length = number = 0
    while length < size:
        line = (
            f"2026-11-05T10:{number % 60:02d}:{number * 7 % 60:02d}.{number % 1000:03d}Z INFO  bot.sap.invoice"
            f"[{number % 97}]: processed invoice {number * 7919 % 1000003} for "
            f"https://api.example.com/v1/customers/{number * 31 % 9973} status=200 took {number % 331} ms "
            f"request_id={dice.getrandbits(64):016x}"
        ).encode()
        if shown and number % 10 == 0:
            line += b" token=" + shown[number // 10 % len(shown)]
        written.append(line + b"\n")
        length += len(line) + 1
        number += 1
    return b"".join(written)


def best(
    action: Callable[[], object], *, rounds: int = ROUNDS, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Seconds of the fastest of `rounds` runs."""
    seconds = []
    for _ in range(rounds):
        begun = clock()
        action()
        seconds.append(clock() - begun)
    return min(seconds)


def speed(
    data: bytes,
    action: Callable[[bytes], object],
    *,
    rounds: int = ROUNDS,
    clock: Callable[[], float] = time.process_time,
) -> float:
    """MB/s of `action` over `data`, by this process's own time."""
    return len(data) / 1e6 / best(lambda: action(data), rounds=rounds, clock=clock)


def through_cat(data: bytes) -> None:
    """The same bytes from a file through `cat` and a pipe, in the same chunks."""
    with tempfile.TemporaryFile() as source:
        source.write(data)
        source.seek(0)
        with subprocess.Popen(["cat"], stdin=source, stdout=subprocess.PIPE, bufsize=0) as cat:
            assert cat.stdout is not None
            while cat.stdout.read(CHUNK):
                pass


def through_stream(masker: Masker) -> Callable[[bytes], None]:
    """A fresh stream per run, fed chunk by chunk."""

    def run(data: bytes) -> None:
        stream = Stream(masker)
        for start in range(0, len(data), CHUNK):
            stream.feed(data[start : start + CHUNK])
        stream.flush()

    return run


def naive(masker: Masker) -> Callable[[bytes], None]:
    """What one writes first: replace each form in each chunk (and miss what a cut divides)."""

    def run(data: bytes) -> None:
        for start in range(0, len(data), CHUNK):
            chunk = data[start : start + CHUNK]
            for form in masker.forms:
                chunk = chunk.replace(form, MASK)

    return run


def in_long_lines(text: bytes) -> bytes:
    """The same text in lines of `LONG` bytes."""
    flat = text.replace(b"\n", b" ")
    return b"\n".join(flat[start : start + LONG - 1] for start in range(0, len(flat), LONG - 1))


def measure(count: int, *, megabytes: int, cat: float) -> dict[str, float]:
    """One row of the table."""
    plain = values(count)
    pairs = [(f"GROUP.NAME_{number}", value) for number, value in enumerate(plain)]
    text = lines(megabytes * 1_000_000)
    first = text[:CHUNK]
    # It is made when something is to be masked; nothing shares it, since the last one is gone by then.
    made = best(lambda: Masker(pairs).mask(first), rounds=30, clock=time.process_time)
    masker = Masker(pairs)
    assert masker.mask(first) == first
    ready = made - best(lambda: masker.mask(first), rounds=30, clock=time.process_time)
    masked = speed(text, through_stream(masker))
    naive_text = text[: max(CHUNK, 40_000_000 // len(masker.forms))]
    slow = speed(naive_text, naive(masker), rounds=1)
    return {
        "values": count,
        "forms": len(masker.forms),
        "ready_ms": ready * 1e3,
        "mb_per_s": masked,
        "mb_per_s_with_hits": speed(lines(megabytes * 500_000, hits=plain), through_stream(masker)),
        "mb_per_s_one_long_line": speed(in_long_lines(text), through_stream(masker)),
        "naive_mb_per_s": slow,
        "of_cat": masked / cat,
        "times_naive": masked / slow,
    }


def main(argv: list[str]) -> int:
    """Measures, prints and says whether every figure is as asked for."""
    parser = argparse.ArgumentParser(prog="masker", description="Speed of the masker, beside cat and the naive loop.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--megabytes", type=int, default=32, help="size of the log (default: 32)")
    arguments = parser.parse_args(argv)
    cat = speed(lines(arguments.megabytes * 1_000_000), through_cat, clock=time.perf_counter)
    rows = [measure(count, megabytes=arguments.megabytes, cat=cat) for count in (10, 100, 1_000)]
    missed = [miss for row in rows for miss in misses(row)]
    if arguments.json:
        print(json.dumps({"cat_mb_per_s": cat, "rows": rows, "missed": missed}))
        return 1 if missed else 0
    print(f"cat through a pipe: {cat:.0f} MB/s")
    print("values  forms  ready ms   MB/s  with hits  one line  naive MB/s  of cat  times naive  asked for")
    for row in rows:
        print(
            f"{row['values']:6.0f} {row['forms']:6.0f} {row['ready_ms']:9.1f} {row['mb_per_s']:6.0f}"
            f" {row['mb_per_s_with_hits']:10.0f} {row['mb_per_s_one_long_line']:9.0f} {row['naive_mb_per_s']:11.2f}"
            f" {row['of_cat']:7.2f} {row['times_naive']:12.0f}  {asked(int(row['values']))}"
        )
    for miss in missed:
        print(f"missed: {miss}")
    return 1 if missed else 0


def asked(count: int) -> str:
    """The targets of a row, as text."""
    wanted = [f">= {LEAST_SPEED[count]} MB/s"] if count in LEAST_SPEED else []
    wanted += [f"ready in <= {MOST_MILLISECONDS[count]} ms"] if count in MOST_MILLISECONDS else []
    return ", ".join(wanted)


def misses(row: dict[str, float]) -> list[str]:
    """The targets that a row misses, as text."""
    count = int(row["values"])
    found = []
    if row["mb_per_s"] < LEAST_SPEED.get(count, 0):
        found.append(f"{row['mb_per_s']:.0f} of {LEAST_SPEED[count]} MB/s with {count:,} values")
    if row["ready_ms"] > MOST_MILLISECONDS.get(count, float("inf")):
        found.append(f"ready in {row['ready_ms']:.1f} instead of {MOST_MILLISECONDS[count]} ms with {count:,} values")
    if row["mb_per_s_one_long_line"] < LONG_LINE * row["mb_per_s"]:
        found.append(f"long lines at {row['mb_per_s_one_long_line']:.0f} MB/s with {count:,} values")
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
