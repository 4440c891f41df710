"""The garbage collector rests while pytest loads and collects: it takes a third of that time, and finds nothing.

`tests.conftest` imports this before whatever takes long. From the first test on the collector works, but looks no more
at what was collected, which stays for as long as pytest runs.
"""

import gc

gc.disable()


def resume() -> None:
    """Collect garbage from here on."""
    gc.freeze()
    gc.enable()
