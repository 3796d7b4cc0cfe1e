"""Validation within a run: metrics, the best parameters kept in the run's folder, and when to stop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from socsci_jax.models.adapters import join
from socsci_jax.simulation.model import SimulationModel
from socsci_jax.training.checkpoint_writer import CheckpointWriter
from socsci_jax.training.position import Progress
from socsci_jax.training.prepare import Prepared
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.validator import LOWER_IS_BETTER


class Validation:
    """The validator of a prepared run, the best parameters so far, and the recipe's patience."""

    def __init__(self, prepared: Prepared, recipe: Recipe, *, history: Sequence[dict[str, Any]]):
        """`history` are the metrics logged so far, if the run resumes."""
        self._prepared = prepared
        self._settings = recipe.validation
        self._compute_dtype = jnp.dtype(recipe.model.compute_dtype)
        self._validator = prepared.validator
        self._best = BestSoFar(recipe.validation.metric, history=history)

    def __enter__(self) -> Validation:
        self._kept = CheckpointWriter(self._prepared.run.best, keep=1)
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.close()

    def metrics(self, params: Any, frozen: Any) -> dict[str, float]:
        """As `Validator` gives them, for the trained parameters over what is frozen."""
        model = SimulationModel(
            config=self._prepared.config,
            params=params if frozen is None else join(frozen, params),
            mesh=self._prepared.mesh,
            tokenizer=self._prepared.tokenizer,
            layout=None,
            compute_dtype=self._compute_dtype,
            metadata={},
        )
        return self._validator(model)

    def keep_best(self, params: Any, progress: Progress) -> bool:
        """Keeps the parameters if they are the best so far; True if there has been no better for too long."""
        if self._best.add(progress.metrics):
            metadata = progress.as_metadata()
            self._kept.save(progress.next_step, state={"params": params}, metadata=metadata)
        patience = self._settings.patience
        return patience is not None and self._best.without_better >= patience


class BestSoFar:
    """Which validation was best by the metric, and how many there have been since."""

    def __init__(self, metric: str, *, history: Sequence[dict[str, Any]] = ()):
        self._name = f"validation_{metric}"
        self._sign = 1 if LOWER_IS_BETTER[metric] else -1
        self._value: float | None = None
        self.without_better = 0
        for metrics in history:
            if self._name in metrics:
                self.add(metrics)

    def add(self, metrics: dict[str, float]) -> bool:
        """True if this is the best so far."""
        value = self._sign * metrics[self._name]
        if self._value is None or value < self._value:
            self._value, self.without_better = value, 0
            return True
        self.without_better += 1
        return False
