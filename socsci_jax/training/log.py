"""Metrics of a run as JSON lines, TensorBoard scalars and, if asked for, in Weights & Biases; by the first process."""

from __future__ import annotations

import json
from typing import Any

from socsci_jax.errors import InputError
from socsci_jax.reading import parse_json_object
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.run import RunFolder


class Log:
    """`history` holds the lines up to the checkpoint that the run resumes from; later ones will be written again."""

    def __init__(self, run: RunFolder, recipe: Recipe, *, from_step: int, writes: bool):
        """Raises InputError if Weights & Biases is asked for and not installed."""
        self._run = run
        self._recipe = recipe
        self._writes = writes
        self._wandb = _wandb(recipe) if writes else None
        lines = run.metrics.read_bytes().splitlines() if run.metrics.is_file() else []
        self.history: list[dict[str, Any]] = [
            metrics for metrics in map(_parsed, lines) if metrics is not None and metrics["step"] <= from_step
        ]

    def __enter__(self) -> Log:
        self._file = self._scalars = None
        if not self._writes:
            return self
        from tensorboard.summary import Writer

        self._run.metrics.write_text("".join(json.dumps(metrics) + "\n" for metrics in self.history))
        self._file = self._run.metrics.open("a")
        self._scalars = Writer(str(self._run.tensorboard))
        if self._wandb is not None:
            self._wandb = self._wandb.init(
                project=self._recipe.tracking.wandb_project,
                name=self._recipe.name,
                # The same run when it resumes.
                id=self._run.metadata["run_id"],
                resume="allow",
                config=self._recipe.model_dump(mode="json"),
                dir=str(self._run.path),
            )
        return self

    def write(self, step: int, metrics: dict[str, float]) -> None:
        if self._file is None:
            return
        self._file.write(json.dumps({"step": step, **metrics}) + "\n")
        self._file.flush()
        for name, value in metrics.items():
            self._scalars.add_scalar(name, value, step=step)
        if self._wandb is not None:
            self._wandb.log(metrics, step=step)

    def __exit__(self, *_: object) -> None:
        if self._file is None:
            return
        self._file.close()
        self._scalars.close()
        if self._wandb is not None:
            self._wandb.finish()


def _wandb(recipe: Recipe) -> Any:
    if recipe.tracking.wandb_project is None:
        return None
    try:
        import wandb
    except ImportError as error:
        raise InputError(
            "tracking.wandb_project: Weights & Biases is not installed; pip install wandb, or remove the key."
        ) from error
    return wandb


def _parsed(line: bytes) -> dict[str, Any] | None:
    """None for a line that is incomplete because its process was killed."""
    try:
        metrics = parse_json_object(line, where="metrics", finite=False)
    except InputError:
        return None
    return metrics if isinstance(metrics.get("step"), int) else None
