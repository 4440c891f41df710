"""Small programs in the places of the processes that `botkeep up` starts: same command lines, no product behind.

Each notes its start and its end in `events` in the home. A file `fail-NAME` there makes it end at once with words
on stderr, `refuse-NAME` makes it end with 75 once, `deaf-NAME` makes it ignore SIGTERM. With a file `drained` the
console says that the runner was asked to drain.
"""

from pathlib import Path

COMMON = """
import os, signal, sys
from pathlib import Path

home = Path(os.environ["BOTKEEP_HOME"])


def event(text):
    with open(home / "events", "a") as events:
        events.write(text + "\\n")


def begin(name):
    if (home / f"fail-{name}").exists():
        print(f"the {name} has a headache", file=sys.stderr)
        raise SystemExit(3)
    refused = home / f"refuse-{name}"
    if refused.exists():
        refused.unlink()
        raise SystemExit(75)

    def end(*_):
        event(f"{name} stopped")
        os._exit(0)

    signal.signal(signal.SIGTERM, signal.SIG_IGN if (home / f"deaf-{name}").exists() else end)
    event(f"{name} started " + " ".join(sys.argv[1:]))
"""

CONSOLE = """
import json, socket, sys
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from stand_in import begin, event, home

if sys.argv[1] == "token":
    client = Path(sys.argv[sys.argv.index("--client-file") + 1])
    event("token")
    if not client.exists():
        client.write_text('url = "http://127.0.0.1:1"\\ntoken = "bk_local"\\n')
    raise SystemExit(0)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.headers["Authorization"] == "Bearer bk_local"
        there = (home / "events").read_text()
        runner = {"name": socket.gethostname(), "state": "online", "started_at": str(datetime.now(UTC))}
        runner |= {"environments": ["dev"], "drain_requested_at": (home / "drained").exists() or None}
        items = [runner] if self.path.startswith("/api/v1/runners") and known and "runner started" in there else []
        content = json.dumps({"items": items, "next": None}).encode()
        self.send_response(200 if "scheduler started" in there else 503)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


begin("console")
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=int(sys.argv[2]))
server.serve_forever()
"""

WAITING = "import threading\nfrom stand_in import begin\nbegin({name!r})\nthreading.Event().wait()\n"
STEP = "from stand_in import event, home\nevent({name!r})\nraise SystemExit(3 * (home / 'fail-{name}').exists())\n"


def write_stand_ins(folder: Path) -> Path:
    """Writes the packages; the answer goes into PYTHONPATH."""
    programs = {
        "stand_in.py": COMMON,
        "console/__main__.py": CONSOLE,
        "scheduler/__main__.py": WAITING.format(name="scheduler"),
        "runner/worker/__main__.py": WAITING.format(name="runner"),
        "runner/migrate.py": STEP.format(name="migrate"),
        "vault/__main__.py": STEP.format(name="keygen"),
    }
    for name, content in programs.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        for package in {path.parent, *path.relative_to(folder).parents}:
            if folder / package != folder:
                (folder / package / "__init__.py").touch()
    return folder
