"""Where a run stands, as it is saved with the state of each checkpoint."""

from __future__ import annotations

import dataclasses
from typing import Any

from socsci_jax.errors import InputError
from socsci_jax.training.checkpoint_reader import CheckpointReader


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands: the metadata of a checkpoint.  The data position is the number of the next step alone."""

    next_step: int
    total_steps: int
    metrics: dict[str, float]
    skipped: list[int]
    stopped_early: bool = False

    @classmethod
    def of_checkpoint(cls, metadata: dict[str, Any]) -> Progress:
        return cls(**{field.name: metadata[field.name] for field in dataclasses.fields(cls)})

    def as_metadata(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def is_finished(checkpoints: CheckpointReader, *, total_steps: int) -> bool:
    """Whether the newest checkpoint is the last of the run."""
    latest = checkpoints.latest()
    if latest is None:
        return False
    try:
        progress = Progress.of_checkpoint(checkpoints.metadata(latest))
    except InputError:
        return False  # damaged: the run will resume from an older one
    return progress.stopped_early or progress.next_step == total_steps
