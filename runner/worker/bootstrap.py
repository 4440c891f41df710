"""The start of a Python bot: `python -I -X utf8 bootstrap.py FD PACKAGE_DIR ENTRY SDK_DIR`.

Reads the environment (`NAME=value`, each ended by NUL) from descriptor FD until its end, closes FD, and runs
PACKAGE_DIR/ENTRY as the real `__main__`, as `python ENTRY` would: `sys.path[0]` is the entry's folder, `sys.argv`
its path alone. Before the first value is read the process is made non-dumpable, so that no other process of the
same user sees its memory; `/proc/PID/environ` holds what the program was executed with, and no value.

Promises: exit statuses are Python's (SystemExit's own, 1 for an exception, 130 for KeyboardInterrupt), but 73 for
an uncaught `botkeep.BusinessError`, whose message goes to stderr instead of a traceback, and 231, 232 and 233 for an
uncaught error that tells of the limit of memory, of open files or of a file's size. Tracebacks show no line
of Botkeep's. Output is line-buffered UTF-8. `import botkeep` finds the SDK in SDK_DIR unless the bot brings its
own; SDK_DIR is the folder of that package or the one that holds it, and nothing else in there can be imported.
(Processes that `multiprocessing` spawns find the SDK only where the holding folder has nothing else.)

A script is compiled at every start, which cost 1 to 3 ms; so all of it is in `bot_main.py`, whose bytecode is cached.
"""

import sys

if __name__ == "__main__":
    loader = type(__loader__)  # type: ignore[name-defined]  # SourceFileLoader, which every script has
    code = loader("bot_main", __file__.replace("bootstrap.py", "bot_main.py")).get_code("bot_main")
    namespace: dict = {"__name__": "bot_main"}  # type: ignore[type-arg]  # typing is not imported for it
    exec(code, namespace)  # noqa: S102  (an import would need the folder on sys.path, before the bot's own)
    namespace["main"](*sys.argv[1:5], loader=loader)
