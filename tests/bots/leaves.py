"""Leaves a file of the name $NAME in its folder and prints its launcher."""

import os
from pathlib import Path

Path(os.environ["NAME"]).write_text("left\n")
print(os.getppid())
