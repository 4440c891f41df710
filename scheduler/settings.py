"""What the scheduler reads from its environment."""

from __future__ import annotations

from pydantic import Field

from runner.settings import StoreSettings


class SchedulerSettings(StoreSettings):
    """How often its duties run. It holds no key and decrypts nothing."""

    tick: float = Field(default=1.0, gt=0, le=3600, description="Seconds between two rounds of its duties.")
    prune_every: float = Field(
        default=600.0,
        gt=0,
        description="Seconds between two rounds of removing logs and artefacts that no rule keeps any more.",
    )
    republish_after: float = Field(
        default=30.0,
        gt=0,
        description="Seconds after which a queued job that nobody claimed is announced again.",
    )
