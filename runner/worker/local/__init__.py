"""Values that live on this host alone: set here, encrypted here, opened here for the bots of this host.

Nothing of it leaves the host but names: the database knows which assets are declared local, and which of them this
host has. The parts:

    errors      what can go wrong
    key         the host's key: seals and opens values, proves the file; and the forms in which it is stored
    custody     where the host's key is, and how it is unlocked and locked
    document    the file's content, pure
    store       the file itself: locked, replaced at once
    known       which assets are declared, as the runners of this host last heard; readable without any connection
    journal     what people did here, each line chained to the one before
    transfer    encrypted export for a second host
    host        all of these together, as a person uses them
    values      the same as a worker uses them; `telling` keeps the database and the file `known` up to date
    commands    `python -m runner.worker.local`, by which `botkeep local` is started; `window` is its full screen

`docs/LOCAL-VALUES.md` specifies the formats, and `tests/vectors/local.json` holds them to their word.
"""
