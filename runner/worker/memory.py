"""What this process keeps of the memory that it once needed: as little as it can.

Standard library only, and `loading`: `save` runs before everything else is loaded.
"""

from __future__ import annotations

import ctypes
import opcode
import sys
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec
from types import CodeType, ModuleType

from runner import loading

#: Loaded by libraries where they are there, for what a worker does not do: looks of a log on a terminal (structlog's,
#: 3 MB), YAML in messages (kombu's, 0.8 MB), metrics (redis's, 0.3 MB).
UNUSED = ("rich", "yaml", "opentelemetry")

#: Packages whose parts are loaded as others need them and not all of them at once, with what they have all the same and
#: the parts that it is in: redis for asyncio (1.2 MB), and a maker of command lines, of which Celery's errors are made
#: (1.6 MB).
HOLLOW: dict[str, dict[str, str]] = {"redis.asyncio": {}, "click": {"ClickException": "exceptions"}}

#: mallopt(3): how many heaps threads may have. Each would keep what its thread once needed; the interpreter lets one
#: thread at a time allocate anyway.
_M_ARENA_MAX = -8
_HEAPS = 1

#: CO_OPTIMIZED and CO_NEWLOCALS, which the code of a function has and that of a class or module has not.
_FUNCTION = 0x3

_libc = ctypes.CDLL(None)


def save() -> None:
    """Load less and keep less from here on; called before there are threads."""
    _libc.mallopt(_M_ARENA_MAX, _HEAPS)
    loading.begin(UNUSED)
    if sys.version_info < (3, 14):  # where a function's documentation is its first constant
        SourceFileLoader.get_code = _get_code  # type: ignore[method-assign,assignment]
    for name, kept in HOLLOW.items():
        hollow = sys.modules[name] = _hollow(name)
        vars(hollow).update({one: getattr(import_module(f"{name}.{part}"), one) for one, part in kept.items()})


def settle() -> None:
    """Give back what only the start needed (malloc_trim(3)); what was kept from loading may be loaded from here on."""
    loading.end(UNUSED)
    _libc.malloc_trim(0)


def _hollow(name: str) -> ModuleType:
    """A package that holds nothing, in the place of one, where its modules are found."""
    top, *below = name.split(".")
    hollow, found = ModuleType(name), find_spec(top)
    folders = [] if found is None else found.submodule_search_locations or []
    hollow.__path__ = ["/".join((folder, *below)) for folder in folders]
    return hollow


_code_of = SourceFileLoader.get_code

#: The instructions that load a function's first constant, where its documentation is: a body that does so needs it.
_FIRST = tuple(bytes((opcode.opmap[name], 0)) for name in ("LOAD_CONST", "RETURN_CONST") if name in opcode.opmap)


def _get_code(loader: SourceFileLoader, name: str) -> CodeType | None:
    code = _code_of(loader, name)
    return None if code is None else undocumented(code)


def undocumented(code: CodeType) -> CodeType:
    """The code without what functions say of themselves: 3.6 MB that nobody asks a worker for.

    Not `None`: SQLAlchemy insists on documentation.
    """
    constants = [undocumented(one) if isinstance(one, CodeType) else one for one in code.co_consts]
    # A comprehension has no documentation, so its first constant is one of its own.
    if code.co_flags & _FUNCTION == _FUNCTION and code.co_name[0] != "<" and isinstance(constants[0], str):
        instructions = code.co_code
        if not any(first in instructions for first in _FIRST):
            constants[0] = "."
    changed = any(one is not other for one, other in zip(constants, code.co_consts, strict=True))
    return code.replace(co_consts=tuple(constants)) if changed else code
