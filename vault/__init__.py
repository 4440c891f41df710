"""The vault: values that everyone may store and only the runner of their environment can read.

Two nouns and two verbs. A `Recipient` is the public half of an environment's key pair and can only wrap; an
`Identity` is the private half and can only unwrap. What a process may do is therefore which of the two it
can import, and that is a matter of packaging: the console and the scheduler have no `vault.decrypt`.

    from vault.encrypt import Recipient, encrypt          # any process
    from vault.envelope import Context

    context = Context(workspace=workspace_id, bot="-", group="SAP", name="PASSWORD", environment="prod", number=1)
    stored = encrypt(b"the value", Recipient.from_text(public_key), context=context)

    from vault.decrypt import DataKeys, open_envelope     # a worker, and key hosts
    from vault.identities import key_path, load_identities

    identities = load_identities({"prod": key_path(keys_dir, "prod")})
    opened = open_envelope(stored, identities, context=context, keys=DataKeys())
    opened          # ***
    opened.reveal() # b"the value"

What it promises
    A value opens with the identity of its own environment, in its own row, unchanged, or not at all. The
    names of two assets never become one variable. What a bot declares and refers to is found by name, once.

What it refuses
    There is no other cipher, no key type, no setting that turns encryption off, and no way to read a value
    without its identity: if every copy of a key file is lost, so are the values. It hides neither how long a
    value is nor that it exists, and it cannot tell who stored a value: anyone with the public key can.

The modules
    `errors`      what can go wrong, as one tree
    `names`       GROUP.NAME, the variables it becomes, collisions, patterns
    `tokens`      references in parameters
    `envelope`    the stored bytes, and the context they are bound to
    `encrypt`     `Recipient`, `encrypt`
    `decrypt`     `Identity`, `Secret`, `DataKeys`, `open_envelope`, `rewrap`
    `identities`  key files

and, on top of these, the tables and what reads and writes them. `docs/ENVELOPE.md` specifies the format and
`tests/vectors/` holds it to its word.
"""
