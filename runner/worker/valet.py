"""What a worker cannot do itself since its privileges are laid aside; run by path as `python -I -S valet.py …`.

    valet.py run USER GROUP PROGRAM ARGUMENT …    executes a program as a bot's user, as a bot would be
    valet.py clear USER GROUP TREE …              ends what is that user's, takes its folders back, prints who lives on
    valet.py take-back TREE USER …                makes a tree of a dead runner the runner's again

Promises nothing that `privileges`, `clearing` and `belongings` do not.
"""

# pathlib would take longer to load than all of this.
# ruff: noqa: PTH100, PTH118, PTH120

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    # It is run by path and without site-packages: the folder of our packages comes last, for these imports.
    sys.path.append(os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..")))

from runner.worker import belongings, clearing, privileges


def main(command: str, *arguments: str) -> None:
    privileges.take_up()
    if command == "take-back":
        tree, *users = arguments
        for one in map(int, users):
            belongings.take_back([tree], one)
        return
    user, group, *rest = arguments
    if command == "clear":
        sys.stdout.write(f"{clearing.clear(int(user), int(group), rest)}\n")
        return
    if os.geteuid() == 0:
        privileges.drop_bounds()
    privileges.become(int(user), int(group))
    os.execv(rest[0], rest)  # noqa: S606  (no shell: that is the point)


if __name__ == "__main__":
    main(*sys.argv[1:])
