"""The blocks of a recipe that say what is saved, watched, recorded and validated while steps are taken."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from socsci_jax.training.recipe_blocks import Block, Positive


class CheckpointsConfig(Block):
    """When and where checkpoints are written, and which are kept."""

    every_steps: Positive
    """Steps between two checkpoints."""
    folder: str | None = None
    """Elsewhere than in the output folder, also in object storage (gs://...)."""
    keep: Positive = 2
    """How many of the newest are kept."""
    keep_every: Positive | None = None
    """Those of every so many steps are kept for good."""


class WatchdogConfig(Block):
    """When a run counts as hanging; it then writes the stacks of all threads and ends, to be started again."""

    slow_step: Annotated[float, pydantic.Field(gt=1)] = 20.0
    """A step hangs after so many times the median of the latest steps."""
    seconds: Annotated[float, pydantic.Field(gt=0)] = 300.0
    """But at least so many seconds."""
    other_seconds: Annotated[float, pydantic.Field(gt=0)] = 3600.0
    """The same for compiling, saving and validating."""


class TrackingConfig(Block):
    """Where metrics go besides metrics.jsonl and TensorBoard, and which steps are profiled."""

    wandb_project: str | None = None
    """Project at Weights & Biases, if that is installed."""
    profile_steps: tuple[Positive, Positive] | None = None
    """First and last step that TensorBoard's profiler records."""


class ValidationConfig(Block):
    """Metrics on the split's validation part every so many steps; the best checkpoint is kept next to the newest."""

    every_steps: Positive
    """Steps between two validations."""
    responses: Positive = 2048
    """About so many answers, of items drawn by seed."""
    metric: Literal["loss", "wasserstein", "accuracy", "effect_r", "effect_rmse"] = "loss"
    """What the best checkpoint is best in."""
    patience: Positive | None = None
    """Training stops after so many validations without a better one."""
