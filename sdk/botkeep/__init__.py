"""What a bot imports to ask for its values and to learn about its run; the standard library only.

    import botkeep

    botkeep.assets["SAP.PASSWORD"]        the value for the environment that this job runs in, as text
    botkeep.asset_bytes("DB.CERTIFICATE") the same as bytes, for what is not text
    botkeep.get_secret("SAP_USER")        GLOBAL.SAP_USER, or GROUP.NAME
    botkeep.Secret.from_name("SAP.PASSWORD").read_value()   a value that prints **********
    botkeep.mask(token)                   has a value that the bot got elsewhere masked in its log, too
    botkeep.parameters()                  what the job was started with, references resolved
    botkeep.source("orders")              a data source, opened by the runner with credentials of this environment
    botkeep.output_dir()                  where files with results go
    botkeep.progress(0.4, "orders")       how far it is, for people who look
    botkeep.output("total", 12)           a result that history shows and workflows pass on
    botkeep.work_items.each("invoices")   data items to be done one by one; see the module

Promises that a value is read when it is asked for and never kept here, that no error message holds one, and
that an unknown name, a missing value and an absent runner are three different errors. Refuses to talk to
anything but the runner on this machine. Importing it costs almost nothing: what is heavier is loaded when it
is first needed. On a laptop, `botkeep.local` stands in the runner's place, and `botkeep.testing.fake` in a unit test.

    BotkeepError
    ├── UnknownAsset          this bot sees no such asset; the message names near ones (also a KeyError)
    ├── NoValue               the asset has no value that can be read in this environment
    ├── UnknownParameter      the job has no such parameter; the message names near ones (also a KeyError)
    ├── NotText               the value is not UTF-8; take its bytes
    ├── Refused               the runner does not take it; the message says why
    ├── SourceError           a data source cannot be used
    │   └── UnknownSource     this bot may use no such data source here (also a KeyError)
    ├── EndpointUnreachable   the runner of this job does not answer
    ├── MaskRefused           the value is too large to be masked, or the job named too many
    └── OutsideBotkeep        this program was not started by Botkeep
    BusinessError             raised by a bot: the data is wrong, trying again would not help
"""

from botkeep import work_items
from botkeep.context import InvocationContext
from botkeep.errors import (
    BotkeepError,
    BusinessError,
    EndpointUnreachable,
    MaskRefused,
    NotText,
    NoValue,
    OutsideBotkeep,
    Refused,
    SourceError,
    UnknownAsset,
    UnknownParameter,
    UnknownSource,
)
from botkeep.masks import mask
from botkeep.reporting import progress
from botkeep.results import output
from botkeep.run import output_dir, parameters
from botkeep.secret import Secret, SecretValue
from botkeep.sources import Source, source
from botkeep.values import Assets, asset_bytes, assets, get_secret

__all__ = [
    "Assets",
    "BotkeepError",
    "BusinessError",
    "EndpointUnreachable",
    "InvocationContext",
    "MaskRefused",
    "NoValue",
    "NotText",
    "OutsideBotkeep",
    "Refused",
    "Secret",
    "SecretValue",
    "Source",
    "SourceError",
    "UnknownAsset",
    "UnknownParameter",
    "UnknownSource",
    "asset_bytes",
    "assets",
    "get_secret",
    "mask",
    "output",
    "output_dir",
    "parameters",
    "progress",
    "source",
    "work_items",
]
