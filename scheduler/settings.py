"""What the scheduler reads from its environment."""

from __future__ import annotations

from pathlib import Path

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
    audit_anchor_file: Path | None = Field(
        default=None,
        description="File to which the head of each workspace's audit chain is added, by default `audit/heads.jsonl` "
        "in the home. Keep it, or a copy of the log, where whoever can write the database cannot.",
    )
    audit_anchor_every: float = Field(
        default=60.0, gt=0, description="Seconds between two heads of the audit that are written down."
    )
    republish_after: float = Field(
        default=30.0,
        gt=0,
        description="Seconds after which a queued job that nobody claimed is announced again.",
    )

    def audit_anchors(self) -> Path:
        """The file of the audit's heads."""
        return self.audit_anchor_file or self.home / "audit" / "heads.jsonl"
