"""Steps that the devices were given and whose metrics nobody has looked at yet; and requests to stop, which ride on them."""

from __future__ import annotations

import collections
import contextlib
import math
from typing import Any

import jax
import numpy as np

from socsci_jax.data.loader import LoadedBatch
from socsci_jax.errors import InputError, NonFinite, StorageFailed
from socsci_jax.models.sharding import one_per_device
from socsci_jax.training.session import Session


class StepsInFlight:
    """The queue of steps under way.

    `skipped` are the numbers of steps whose loss or gradients were not finite, which changed nothing; `stop_asked` is
    true once any process was asked to stop, and becomes so on all processes at the same step.
    """

    def __init__(self, session: Session, *, skipped: list[int]):
        self.skipped = skipped
        self.stop_asked = False
        self._session = session
        self._queue: collections.deque[tuple[int, int, Any]] = collections.deque()
        self._latest: dict[str, float] = {}

    def add(self, batch: LoadedBatch, metrics: dict[str, jax.Array]) -> None:
        """The step of this batch was given to the devices and will yield these metrics."""
        self._queue.append((batch.step, batch.digest, metrics))

    def settle(self, *, leaving: int) -> dict[str, float]:
        """Waits for all but the last so many steps; returns the metrics of the latest finite one that has ended.

        Raises NonFinite if more steps were not finite than are allowed.
        """
        while len(self._queue) > leaving:
            step, digest, waited_for = self._queue.popleft()
            metrics = {name: value.item() for name, value in jax.device_get(waited_for).items()}
            self._session.watchdog.step_done(step + 1)
            self.stop_asked |= metrics.pop("stop") > 0
            finite = metrics.pop("finite")
            loss = metrics["loss"] if finite else None
            self._session.journal.write("step", step=step + 1, digest=f"{digest:016x}", loss=loss)
            if finite:
                self._latest = metrics
            else:
                self._skip(step, metrics)
        return self._latest | ({"skipped_steps": len(self.skipped)} if self.skipped else {})

    def _skip(self, step: int, metrics: dict[str, float]) -> None:
        what = "gradient" if math.isfinite(metrics["loss"]) else "loss"
        keys = self._session.prepared.shards.prefix_index["key"]
        ids = sorted({keys[int(p)] for row in self._session.prepared.plan.batch(step) for p in row.prefix})
        self._session.journal.write("not_finite", step=step + 1, what=what, ids=ids)
        self.skipped.append(step + 1)
        if len(self.skipped) > self._session.recipe.optimizer.skip_nonfinite_steps:
            # A save under way would be complete a moment after it was called missing: every process comes here with
            # the same step, so all can wait for it.  Where it fails, the loss is still what ended the run.
            with contextlib.suppress(InputError, StorageFailed):
                self._session.checkpoints.wait()
            saved = self._session.checkpoints.reader.latest()
            raise NonFinite(
                f"step {step + 1}: the {what} is not finite; its batch holds {', '.join(ids[:3])}"
                f"{f' and {len(ids) - 3} more' if len(ids) > 3 else ''} (all in {self._session.journal.stacks.parent}); lower "
                "optimizer.learning_rate, or skip such steps with optimizer.skip_nonfinite_steps; the last good "
                f"checkpoint is {f'that of step {saved}' if saved else 'none'}."
            )
        if not self._latest:
            self._latest = metrics


class StopFlags:
    """Whether this process was asked to stop, as the step's operand: one element for each device.

    Every process gives its own devices' elements; their sum is one of the step's metrics, so that all processes learn
    of it at the same step without asking each other.
    """

    def __init__(self, mesh: jax.sharding.Mesh):
        self._sharding = one_per_device(mesh)
        self._shape = (mesh.size,)
        self._made: dict[bool, jax.Array] = {}

    def of(self, asked: bool) -> jax.Array:
        if asked not in self._made:
            self._made[asked] = jax.make_array_from_callback(
                self._shape, self._sharding, lambda _: np.full(1, asked, np.int32)
            )
        return self._made[asked]
