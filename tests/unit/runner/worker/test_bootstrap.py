"""What a Python bot's own interpreter promises it: started as its worker would, without spawner and launcher."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.worker import bot_main
from runner.worker.launch import python_argv
from tests.support import ROOT

SDK = ROOT / "sdk"


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Writes a bot and runs it through the bootstrap; `-S` hides what else is installed here, the SDK too."""

    def run_one(
        source: str | bytes,
        *,
        entry: str = "main.py",
        environment: bytes = b"X=1\0",
        sdk: Path = SDK,
        options: tuple[str, ...] = (),
    ) -> Ended:
        path = tmp_path / entry
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source if isinstance(source, bytes) else textwrap.dedent(source).encode())
        return start(tmp_path, entry, environment, sdk, options)

    return run_one


def start(package: Path, entry: str, environment: bytes, sdk: Path, options: tuple[str, ...]) -> Ended:
    reading, writing = os.pipe()
    os.write(writing, environment)
    os.close(writing)
    program, *arguments = python_argv(Path(sys.executable), package, entry, sdk=sdk)
    position = arguments.index("3")
    arguments[position] = str(reading)
    try:
        done = subprocess.run(
            [program, *options, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={},
            pass_fds=[reading],
            cwd="/",
            timeout=30,
            check=False,
        )
    finally:
        os.close(reading)
    return Ended(done.returncode, done.stdout, done.stderr)


def test_the_bot_is_the_real_main_module(run: Run, tmp_path: Path) -> None:
    ended = run("""
        import sys, __main__, pickle
        class Thing: pass
        assert __main__.Thing is Thing and sys.modules["__main__"].__dict__ is globals()
        assert type(pickle.loads(pickle.dumps(Thing()))) is Thing
        print(__name__, __file__, __spec__, __package__, type(__loader__).__name__, __annotations__)
        print(sys.argv, sys.path[0])
        leftovers = {name for name in globals() if not name.startswith("__")} - {"sys", "pickle", "Thing"}
        print(sorted(leftovers), "bot_main" in sys.modules)
        if __name__ == "__main__":
            print("main")
    """)
    path = tmp_path / "main.py"
    assert ended.out.splitlines() == [
        f"__main__ {path} None None SourceFileLoader {{}}",
        f"{[str(path)]} {tmp_path}",
        "[] False",
        "main",
    ]
    assert (ended.code, ended.err) == (0, "")


def test_an_entry_in_a_folder_imports_what_lies_beside_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/beside.py").write_text("NAME = __file__\n")
    ended = run("import beside, sys; print(beside.NAME, sys.path[0])", entry="src/main.py")
    assert ended.out == f"{tmp_path}/src/beside.py {tmp_path}/src\n"


def test_multiprocessing_spawns_processes_that_know_the_bots_functions(run: Run) -> None:
    ended = run(
        """
        import multiprocessing
        import botkeep
        def double(number):
            return 2 * number, __name__, botkeep.__name__
        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.map(double, [21]))
    """,
        options=("-S",),
    )
    assert (ended.out, ended.code) == ("[(42, '__mp_main__', 'botkeep')]\n", 0), ended.err


def test_a_traceback_shows_the_bots_lines_and_none_of_ours(run: Run, tmp_path: Path) -> None:
    ended = run("""\
        def fail():
            raise ValueError("no such invoice")
        fail()
    """)
    path = tmp_path / "main.py"
    assert ended.code == 1
    assert [line for line in ended.err.splitlines() if "^" not in line and "~" not in line] == [
        "Traceback (most recent call last):",
        f'  File "{path}", line 3, in <module>',
        "    fail()",
        f'  File "{path}", line 2, in fail',
        '    raise ValueError("no such invoice")',
        "ValueError: no such invoice",
    ]


@pytest.mark.parametrize(
    ("source", "code", "err"),
    [
        ("raise SystemExit", 0, ""),
        ("raise SystemExit(5)", 5, ""),
        ("import sys; sys.exit('sorry')", 1, "sorry\n"),
        ("import os; os._exit(9)", 9, ""),
        ("raise KeyboardInterrupt", 130, "KeyboardInterrupt"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, ""),
        ("def broken(:", 1, "SyntaxError: invalid syntax"),
        (b"x = '\xff'", 1, "SyntaxError"),
        (b"x = 1\0", 1, "cannot contain null bytes"),
        (b"# -*- coding: latin-1 -*-\nassert len('\xe9') == 1", 0, ""),
        ("import atexit, threading\natexit.register(print, 'bye')\nraise SystemExit(4)", 4, ""),
    ],
)
def test_exit_statuses_are_pythons_own(run: Run, source: str | bytes, code: int, err: str) -> None:
    ended = run(source)
    assert ended.code == code
    assert err in ended.err
    assert bool(err) == bool(ended.err)
    assert "worker" not in ended.err, "a line of ours is in the traceback"


def test_threads_and_exit_functions_are_waited_for_as_ever(run: Run) -> None:
    ended = run("""
        import atexit, threading
        release = threading.Event()
        threading.Thread(target=lambda: (release.wait(), print("thread"))).start()
        atexit.register(print, "exit")
        release.set()
        raise RuntimeError("late")
    """)
    assert ended.out.split() == ["thread", "exit"]
    assert ended.code == 1


def test_a_bots_own_excepthook_is_used(run: Run) -> None:
    ended = run("import sys\nsys.excepthook = lambda kind, error, trace: print('hook', error)\n1 / 0")
    assert (ended.out, ended.err, ended.code) == ("hook division by zero\n", "", 1)


BUSINESS = """
try:
    from botkeep import BusinessError
except ImportError:
    import botkeep
    class BusinessError(Exception): pass
    botkeep.BusinessError = BusinessError
class NoSuchInvoice(BusinessError): pass
raise NoSuchInvoice("invoice 4711 is closed")
"""


def test_a_business_error_is_a_sentence_and_exit_status_73(run: Run) -> None:
    ended = run(BUSINESS)
    assert ended.code == bot_main.BUSINESS_STATUS == 73
    assert ended.err == "NoSuchInvoice: invoice 4711 is closed\n"


def test_a_namesake_of_the_business_error_is_an_ordinary_error(run: Run) -> None:
    ended = run("class BusinessError(Exception): pass\nraise BusinessError('x')")
    assert ended.code == 1
    assert "Traceback" in ended.err


def test_the_environment_is_what_the_pipe_held_and_nothing_else(run: Run) -> None:
    environment = "A=1=2\0EMPTY=\0UML=ä\n€\0TZ=Asia/Tokyo\0".encode() + b"RAW=\xff\xfe\0"
    ended = run(
        """
        import os, time
        print(ascii(dict(os.environ)), os.environb[b"RAW"], time.tzname[0])
        """,
        environment=environment,
    )
    expected = {"A": "1=2", "EMPTY": "", "UML": "ä\n€", "TZ": "Asia/Tokyo", "RAW": "\udcff\udcfe"}
    assert ended.out == f"{expected!a} b'\\xff\\xfe' JST\n"


def test_the_pipe_is_closed_before_the_bot_begins(run: Run) -> None:
    ended = run(
        "import os; print(sorted(n for n in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{n}')))"
    )
    assert ended.out == "['0', '1', '2']\n"


def test_the_bot_is_not_dumpable(run: Run) -> None:
    ended = run("import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))")
    assert ended.out == "0\n"


def test_output_is_utf_8_and_goes_out_line_by_line(run: Run) -> None:
    ended = run("""
        import os, sys
        print("ä€")
        print("unfinished", end="")
        sys.stdout.line_buffering and sys.stderr.write(f"{sys.stdout.encoding} {sys.flags.utf8_mode}\\n")
        os._exit(0)
    """)
    assert ended.out == "ä€\n"
    assert ended.err == "utf-8 1\n"


def test_the_sdk_is_found_without_what_lies_beside_it(run: Run, tmp_path: Path) -> None:
    holder = tmp_path / "site-packages"
    (holder / "botkeep").mkdir(parents=True)
    (holder / "botkeep/__init__.py").write_text("WHERE = 'ours'\n")
    (holder / "botkeep/part.py").write_text("")
    (holder / "neighbour.py").write_text("")
    source = """
        import botkeep, botkeep.part
        print(botkeep.WHERE)
        import neighbour
    """
    for sdk in (holder, holder / "botkeep"):
        ended = run(source, sdk=sdk, options=("-S",))
        assert ended.out == "ours\n", ended.err
        assert "No module named 'neighbour'" in ended.err


def test_a_bot_may_bring_its_own_sdk(run: Run, tmp_path: Path) -> None:
    (tmp_path / "botkeep.py").write_text("WHERE = 'its own'\n")
    assert run("import botkeep; print(botkeep.WHERE)").out == "its own\n"


def test_an_entry_that_is_missing_is_a_sentence(tmp_path: Path) -> None:
    ended = start(tmp_path, "nowhere.py", b"", SDK, ())
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"The bot's entry {tmp_path}/nowhere.py cannot be read: No such file or directory.\n"


def test_a_tiny_bot_pays_for_few_modules_only(run: Run) -> None:
    ended = run("import sys; print(*sys.modules)", options=("-S",))
    plain = subprocess.check_output([sys.executable, "-I", "-S", "-c", "import sys; print(*sys.modules)"], text=True)
    extra = set(ended.out.split()) - set(plain.split())
    assert extra <= {"_ctypes", "gc", "os", "os.path", "posixpath", "genericpath", "stat", "_stat", "_collections_abc"}
