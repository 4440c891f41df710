"""Values as objects that do not print: for bots that hand a password through several functions.

    from botkeep import Secret

    password = Secret.from_name("SAP.PASSWORD").read_value()
    print(password)                              # **********
    login(user, password.get_secret_value())

Promises that nothing but `get_secret_value` gives the text away: not `repr`, `str`, `format`, pickling or JSON. A
reference is read strictly: what is not exactly one is an error, and never cut to something that is.
"""

from __future__ import annotations

from botkeep.errors import Refused, UnknownAsset
from botkeep.values import GLOBAL, assets, canonical

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

#: What is shown in the place of a value.
HIDDEN = "**********"

#: The workspace that a reference may name: the only one there is.
_WORKSPACE = "default"


class SecretValue:
    """A text that shows itself as `**********`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """`text` is what `get_secret_value` gives."""
        self._text = text

    def get_secret_value(self) -> str:
        """The text."""
        return self._text

    def __str__(self) -> str:
        """`**********`, or nothing where nothing is hidden."""
        return HIDDEN if self._text else ""

    def __repr__(self) -> str:
        """`SecretValue('**********')`."""
        return f"SecretValue({str(self)!r})"

    def __format__(self, specification: str) -> str:
        """`**********`, in whatever width."""
        return format(str(self), specification)

    def __len__(self) -> int:
        """How long the text is."""
        return len(self._text)

    def __eq__(self, other: object) -> bool:
        """Whether both hide the same."""
        return isinstance(other, SecretValue) and self._text == other._text

    def __hash__(self) -> int:
        """As `__eq__` has it."""
        return hash((SecretValue, self._text))

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Neither pickled nor copied."""
        raise TypeError("A SecretValue is neither pickled nor copied: hand over the asset's name instead.")


class Secret:
    """An asset by its name; its value is read when it is asked for, and never kept."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        """`name` is GROUP.NAME; take `from_name` for anything else."""
        self.name = name

    @classmethod
    def from_name(cls, name: str) -> Secret:
        """The asset `GROUP.NAME`, or `GLOBAL.NAME` for a plain name, in which hyphens are underscores.

        Raises:
            UnknownAsset: for text that names none, and when this bot sees no such asset.
        """
        asset = _asset(name)
        if asset not in assets:
            assets[asset]  # the error that names near ones
        return cls(asset)

    @classmethod
    def from_uri(cls, uri: str) -> Secret:
        """The asset of `roboto-secret://name[@workspace]`, `secret://NAME` or `secret://GROUP/NAME`.

        Raises:
            UnknownAsset: for text that is not exactly one of these.
            Refused: for another workspace.
        """
        scheme, _, rest = uri.partition("://")
        if scheme == "secret" and rest.count("/") <= 1 and "." not in rest:
            return cls.from_name(rest.replace("/", "."))
        name, at, workspace = rest.partition("@")
        if scheme != "roboto-secret" or (at and not _is_word(workspace)) or "@" in workspace:
            raise UnknownAsset(f"{uri[:80]!a} is not a reference: write roboto-secret://NAME or secret://GROUP/NAME.")
        if at and workspace != _WORKSPACE:
            raise Refused(f"The workspace {workspace} is another one; this job sees nothing of it.")
        if "." in name:
            name = name.replace(".", "_")
        return cls.from_name(name)

    @classmethod
    def create(cls, name: str, initial_value: str | None = None) -> Secret:
        """An asset of this name, with a value where one is given; one that is there already gets it as its next value.

        Raises:
            Refused: when bot.toml does not have the asset in `writes`, or the value cannot be stored.
        """
        made = cls(_asset(name))
        if initial_value is not None:
            made.update_value(initial_value)
        return made

    def read_value(self) -> SecretValue:
        """The value for the environment that this job runs in.

        Raises:
            UnknownAsset, NoValue, NotText, EndpointUnreachable: as `botkeep.assets` says.
        """
        return SecretValue(assets[self.name])

    def update_value(self, value: str) -> None:
        """Set the value for the environment that this job runs in; it is masked from now on.

        Raises:
            Refused: as `create`.
        """
        from botkeep import endpoint  # noqa: PLC0415 - HTTP takes longer to load than most bots to start

        endpoint.write(self.name, value.encode())

    def __repr__(self) -> str:
        """The name."""
        return f"<asset {self.name}>"


def _asset(name: str) -> str:
    if "." in name:
        return canonical(name)
    if name.startswith("-"):
        raise UnknownAsset(f"{name[:60]!a} is not the name of an asset.")
    return canonical(f"{GLOBAL}.{name.replace('-', '_')}")


def _is_word(text: str) -> bool:
    return text.isascii() and text.replace("_", "a").isalnum()
