"""What a Python bot's interpreter does before and after the bot; run by `bootstrap.py`, which says what it promises.

It runs on the bot's interpreter, which may be older than ours, and before each bot: the less it imports, the better.
"""

# pathlib would cost more than all that happens here.
# ruff: noqa: PTH118, PTH119, PTH120, PTH123, PTH208

import gc
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types

BUSINESS_STATUS = 73
INTERRUPTED_STATUS = 130
#: For an uncaught error that says which limit was reached: of memory (MemoryError), of open files, of a file's size.
MEMORY_STATUS, OPEN_FILES_STATUS, DISK_STATUS = 231, 232, 233
PR_SET_DUMPABLE = 4
PR_SET_PDEATHSIG = 1
SIGKILL = 9
#: The start symbol of a whole file (CPython's compile.h).
PY_FILE_INPUT = 257


class SdkFinder:
    """Finds `botkeep` in a folder whose other contents stay out of reach, and `heptora`, which is a part of it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> object:
        if name not in {"botkeep", "heptora"}:
            return None
        import _frozen_importlib_external as machinery  # noqa: PLC0415  (only bots that use the SDK pay for it)

        # Not by a search, which lists the folder first: the bot's domain need not let it.
        package = f"{self.folder}/botkeep"
        if name == "heptora":
            return machinery.spec_from_file_location(name, f"{package}/heptora.py")
        return machinery.spec_from_file_location(name, f"{package}/__init__.py", submodule_search_locations=[package])


class Heptora:
    """The name `heptora` in a bot that does not import it: the module of that name, loaded when it is used."""

    def __getattr__(self, name: str) -> object:
        import heptora  # type: ignore[import-not-found]  # noqa: PLC0415  (few bots need it)

        return getattr(heptora, name)


class RobotoFinder:
    """Lets `from roboto import Secret` work, as Roboto's documentation has it and no version of the package does."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        if name != "roboto":
            return None
        sys.meta_path.remove(self)  # type: ignore[arg-type]
        import _frozen_importlib as machinery  # noqa: PLC0415  (only bots of Roboto pay for it)

        # importlib.util would cost more.
        spec = machinery._find_spec(name, path, target)  # type: ignore[attr-defined]  # noqa: SLF001
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: "types.ModuleType") -> None:
                execute(module)
                add_secret(module)

            spec.loader.exec_module = exec_module
        return spec


def add_secret(module: "types.ModuleType") -> None:
    """Gives `roboto` the name `Secret` where it has none, loaded when it is asked for."""
    known = module.__dict__.get("__getattr__")

    def find(name: str) -> object:
        if name == "Secret":
            from roboto.domain.secrets import Secret  # type: ignore[import-not-found]  # noqa: PLC0415

            return Secret
        if known is not None:
            return known(name)
        raise AttributeError(f"module 'roboto' has no attribute {name!r}")

    if "Secret" not in module.__dict__:
        module.__dict__["__getattr__"] = find


def main(descriptor: str, package: str, entry: str, sdk: str, *, loader: type) -> None:
    """Receives the environment, runs the bot, exits."""
    hide()
    receive_environment(int(descriptor))
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    offer_sdk(sdk)
    if "ROBOTO_SERVICE_ENDPOINT" in os.environ:
        sys.meta_path.insert(0, RobotoFinder())  # type: ignore[arg-type]
    # What the interpreter made for itself lives as long as it: the collections at its end need not look (0.6 of 8 ms).
    gc.freeze()
    sys.exit(run(os.path.join(package, entry), loader))


def hide() -> None:
    """Makes this process non-dumpable and lets it die with its launcher.

    By `_ctypes` alone: ctypes would cost more than everything else here.
    """
    try:
        import _ctypes  # noqa: PLC0415  (not every interpreter has it)
    except ImportError:
        return
    prctl = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # type: ignore[arg-type]
    _ctypes.call_function(prctl, (PR_SET_DUMPABLE, 0, 0, 0, 0))
    _ctypes.call_function(prctl, (PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))


def receive_environment(descriptor: int) -> None:
    """Replaces the environment by what is in the pipe."""
    with open(descriptor, "rb", buffering=0) as pipe:
        items = pipe.readall().split(b"\0")
    os.environ.clear()
    for item in items:
        name, equals, value = item.partition(b"=")
        if equals:
            os.environb[name] = value
    time.tzset()


def offer_sdk(folder: str) -> None:
    """Makes `botkeep` importable; through the path where that offers nothing else, since children inherit it."""
    folder = os.path.dirname(folder) if os.path.basename(folder) == "botkeep" else folder
    try:
        shared = not {*os.listdir(folder)} <= {"botkeep", "__pycache__", "README.md", "pyproject.toml"}
    except OSError:
        shared = True
    if not shared:
        sys.path.append(folder)
    sys.meta_path.append(SdkFinder(folder))  # type: ignore[arg-type]


def run(path: str, loader: type) -> int:
    """Runs the bot; returns the exit status of one that did not exit by itself."""
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        sys.stderr.write(f"The bot's entry {path} cannot be read: {error.strerror}.\n")
        return 2
    vars(sys.modules["builtins"])["heptora"] = Heptora()
    namespace = become_main(path, loader)
    try:
        exec(compiled(source, path), namespace)  # noqa: S102  (this is what it is for)
    except SystemExit:
        raise
    except BaseException as error:
        return tell(error)
    return 0


def compiled(source: bytes, path: str) -> "types.CodeType":
    """Compiles as the interpreter does for a script; `compile` makes all of `ast` first, which is 1.2 ms of waste."""
    try:
        import _ctypes  # noqa: PLC0415  (see `hide`)

        address = _ctypes.dlsym(_ctypes.dlopen(None, 0), "Py_CompileStringExFlags")  # type: ignore[arg-type]
        result = type("py_object", (_ctypes._SimpleCData,), {"_type_": "O"})  # noqa: SLF001  (ctypes.py_object)
        kind = {"_flags_": _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_PYTHONAPI, "_restype_": result}
        native = type("Function", (_ctypes.CFuncPtr,), kind)(address)
    except (ImportError, AttributeError, OSError, TypeError):
        native = None
    if native is None or b"\0" in source:
        return compile(source, path, "exec", dont_inherit=True)
    code: types.CodeType = native(source, os.fsencode(path), PY_FILE_INPUT, None, -1)
    return code


def become_main(path: str, loader: type) -> "dict[str, object]":
    """Puts a fresh `__main__` in place of the bootstrap's; returns its namespace."""
    main_module = type(sys)("__main__")
    main_module.__file__ = path
    main_module.__loader__ = loader("__main__", path)
    main_module.__dict__.update(__annotations__={}, __builtins__=sys.modules["builtins"], __cached__=None)
    sys.modules["__main__"] = main_module
    sys.argv[:] = [path]
    sys.path.insert(0, os.path.dirname(path))
    return main_module.__dict__


def tell(error: BaseException) -> int:
    """Says why the bot failed, in Python's own way, and gives the exit status."""
    business = getattr(sys.modules.get("botkeep"), "BusinessError", ())
    if isinstance(error, business):
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return BUSINESS_STATUS
    trace = error.__traceback__
    while trace and trace.tb_frame.f_code.co_filename == tell.__code__.co_filename:
        trace = trace.tb_next
    sys.excepthook(type(error), error.with_traceback(trace), trace)
    return INTERRUPTED_STATUS if isinstance(error, KeyboardInterrupt) else limit_status(error)


def limit_status(error: BaseException) -> int:
    """The exit status of an uncaught error: Python's, unless it tells of a limit."""
    if isinstance(error, MemoryError):
        return MEMORY_STATUS
    number = error.errno if isinstance(error, OSError) else None
    # EMFILE of RLIMIT_NOFILE and EFBIG of RLIMIT_FSIZE (errno(3)); the module would have to be imported.
    return {24: OPEN_FILES_STATUS, 27: DISK_STATUS}.get(number or 0, 1)
