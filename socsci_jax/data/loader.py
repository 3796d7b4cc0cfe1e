"""Grain loading: planned batches read from the shards, each process only the rows of its own devices."""

from __future__ import annotations

from collections.abc import Iterator

import grain
import numpy as np

from socsci_jax.data.plan import BatchPlan
from socsci_jax.data.shards import TreeShards
from socsci_jax.data.trees import empty_batch, put_tree


class PlannedTrees:
    """Random-access source for Grain: element t is the batch of step t, as a dict of arrays [M, G, ...].

    A step of M*G trees is cut into M micro-batches of G trees; this process reads trees `rows` of each.
    """

    def __init__(self, shards: TreeShards, plan: BatchPlan, *, steps: int, micro_batches: int, rows: slice):
        self._shards = shards
        self._plan = plan
        self._steps = steps
        self._micro_batches = micro_batches
        self._rows = rows

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        planned = self._plan.batch(int(step))
        width = self._plan.branches_per_tree
        prefix = planned.prefix.reshape(self._micro_batches, -1)[:, self._rows]
        branch = planned.branch.reshape(*planned.prefix.reshape(self._micro_batches, -1).shape, width)[
            :, self._rows
        ]
        batch = empty_batch(trees=prefix.size, branches=width, shape=planned.shape)
        for g, (p, members) in enumerate(zip(prefix.reshape(-1), branch.reshape(-1, width))):
            if p >= 0:
                put_tree(
                    batch,
                    g,
                    self._shards.prefix(int(p)),
                    [self._shards.branch(int(b)) for b in members if b >= 0],
                )
        return {
            name: array.reshape(*prefix.shape, *array.shape[1:]) for name, array in batch.arrays().items()
        }


def batches(source: PlannedTrees, *, first_step: int) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """(step, arrays) from `first_step` to the end of the source, read ahead by one thread."""
    # The data position is the step alone: Grain's own iterator state depends on the number of processes.
    dataset = grain.MapDataset.source(source)[first_step:]
    iterator = iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)))
    yield from enumerate(iterator, start=first_step)
