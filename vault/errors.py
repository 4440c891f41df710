"""What can go wrong in the vault, as one tree.

The middle classes are what callers catch: the console maps them to a status once, at its edge.

    VaultError
    ├── Invalid                  what was given cannot be used (422)
    │   ├── InvalidName          a group, a name, an environment or a pattern
    │   ├── InvalidToken         a reference inside a parameter
    │   ├── InvalidValue         a value, or the place it is meant for
    │   ├── InvalidRecipient     a public key, or one of another environment
    │   ├── InvalidDatabase      a database's address that Botkeep cannot use
    │   └── InvalidSettings      a setting of a process, named by its variable
    ├── NotFound                 it does not exist (404)
    │   ├── UnknownAsset
    │   └── UnknownValue         the asset has no value of that number
    ├── Conflict                 it exists and stands in the way (409)
    │   ├── AssetExists          an asset of this name is there already
    │   ├── NameCollision        two owners of one variable
    │   ├── LocalAsset           its values live on runners' hosts and are set there
    │   └── NoRecipient          the environment has no key pair yet
    ├── Unavailable              the database cannot be used now; nothing was lost (503)
    ├── DamagedRow               a row cannot even be read: it was edited by hand, or the disk did it
    ├── DecryptError             a stored value does not open
    │   ├── WrongIdentity        this process holds no identity that could open it
    │   ├── TamperedEnvelope     the bytes were changed, or belong to another row
    │   └── UnsupportedEnvelope  the bytes were written by a newer Botkeep
    └── IdentityFileError        a private key cannot be read or written safely

Every message is one or two sentences that say what to do next. No message, and no attribute, holds a
plaintext, a data key, a private key or a passphrase.
"""


class VaultError(Exception):
    """The root: catch this to catch everything the vault raises on purpose."""


class Invalid(VaultError):
    """What was given cannot be used; giving it again will not help."""


class InvalidName(Invalid):
    """A group, a name, an environment or a pattern is not written as it must be."""


class InvalidToken(Invalid):
    """A reference inside a parameter is not written as it must be; `token` is its text."""

    def __init__(self, message: str, token: str = "") -> None:
        super().__init__(message)
        self.token = token


class InvalidValue(Invalid):
    """A value cannot be used where it is wanted, or its place is not described correctly."""


class InvalidRecipient(Invalid):
    """A public key is damaged, or belongs to another environment than the value."""


class InvalidDatabase(Invalid):
    """The database's address names a kind of database that Botkeep cannot use."""


class InvalidSettings(Invalid):
    """A setting of a process cannot be used; the message names its variable and never shows its content."""


class Unavailable(VaultError):
    """The database cannot be used now; what was asked for can be repeated when it is back."""


class DamagedRow(VaultError):
    """A row holds bytes that its column cannot have; reading it again will not help."""


class NotFound(VaultError):
    """What was asked for does not exist."""


class UnknownAsset(NotFound):
    """No asset of that name is visible from there; `asset` is its `GROUP.NAME`."""

    def __init__(self, asset: str, where: str = "this workspace") -> None:
        super().__init__(asset, where)
        self.asset = asset
        self.where = where

    def __str__(self) -> str:
        """The sentence a person reads."""
        return (
            f"The asset {self.asset} does not exist in {self.where}. "
            f"Create it with `botkeep asset set {self.asset} --env ENVIRONMENT`, or correct the name."
        )


class UnknownValue(NotFound):
    """The asset has no value of that number in that environment."""

    def __init__(self, asset: str, environment: str, number: int) -> None:
        super().__init__(asset, environment, number)
        self.asset = asset
        self.environment = environment
        self.number = number

    def __str__(self) -> str:
        """The sentence a person reads."""
        return (
            f"The asset {self.asset} has no value number {self.number} in {self.environment}. "
            f"See its numbers with `botkeep asset show {self.asset}`."
        )


class Conflict(VaultError):
    """Something that exists stands in the way of what was asked for."""


class AssetExists(Conflict):
    """An asset of this name is there already; `asset` is its `GROUP.NAME`."""

    def __init__(self, asset: str, scope: str) -> None:
        super().__init__(asset, scope)
        self.asset = asset
        self.scope = scope

    def __str__(self) -> str:
        """The sentence a person reads."""
        where = "this workspace" if self.scope == "workspace" else f"bot {self.scope}"
        return f"The asset {self.asset} of {where} is there already; set its values on its own page."


class NameCollision(Conflict):
    """Two owners would share one environment variable, so one would silently receive the other's value.

    `variable` is that variable; `owner` is the asset being saved, `other` is who has the variable already
    (another asset, or the runner itself).
    """

    def __init__(self, variable: str, owner: str, other: str) -> None:
        super().__init__(variable, owner, other)
        self.variable = variable
        self.owner = owner
        self.other = other

    def __str__(self) -> str:
        """The sentence a person reads; it names both owners."""
        return (
            f"{self.owner} would reach bots as {self.variable}, which already belongs to {self.other}. "
            f"Choose another group or name for {self.owner}."
        )


class LocalAsset(Conflict):
    """The asset's values live on the hosts of runners; the central database takes none."""

    def __init__(self, asset: str, bot: str, environment: str) -> None:
        super().__init__(asset, bot, environment)
        self.asset = asset
        self.bot = bot
        self.environment = environment

    def __str__(self) -> str:
        """The sentence a person reads."""
        return (
            f"The values of {self.asset} of bot {self.bot} live on the hosts of its runners and nowhere else. Set it "
            f"there: botkeep local set {self.bot} {self.asset} --env {self.environment}"
        )


class NoRecipient(Conflict):
    """The environment has no key pair yet, so nothing can be encrypted for it."""

    def __init__(self, environment: str) -> None:
        super().__init__(environment)
        self.environment = environment

    def __str__(self) -> str:
        """The sentence a person reads."""
        return (
            f"The environment {self.environment} has no key pair yet. "
            f"Make one on the host of its runner: python -m vault keygen --env {self.environment}"
        )


class DecryptError(VaultError):
    """A stored value does not open."""


class WrongIdentity(DecryptError):
    """This process holds no identity that could open the value."""


class TamperedEnvelope(DecryptError):
    """The stored bytes are not an envelope, were changed, or belong to another row."""


class UnsupportedEnvelope(DecryptError):
    """The stored bytes name a format version that this Botkeep does not know."""


class IdentityFileError(VaultError):
    """A private key cannot be read or written safely; nothing was overwritten."""


def code_of(error: VaultError) -> str:
    """The word by which `--json` of a command names what went wrong."""
    for kind, code in (
        (NotFound, "not_found"),
        (Conflict, "conflict"),
        (IdentityFileError, "conflict"),
        (Unavailable, "unavailable"),
        (Invalid, "invalid"),
    ):
        if isinstance(error, kind):
            return code
    return "failed"
