"""Grain loading: planned rows read from the shards, each process only those of its own devices."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator

import grain
import numpy as np

from socsci_jax.data.plan import EpochPlan, PlannedRow
from socsci_jax.data.shards import TreeShards
from socsci_jax.data.trees import PromptPath, TreeRows, empty_rows, put_row


class PlannedRows:
    """Random-access source for Grain: element t is the batch of step t, as a dict of arrays [M, G, ...].

    A step of M*G rows is cut into M micro-batches of G rows; this process reads rows `own` of each.
    `reference` [N, L] are log-probabilities of the answers of all N comparisons, if the objective needs them.
    """

    def __init__(
        self,
        shards: TreeShards,
        plan: EpochPlan,
        *,
        steps: int,
        micro_batches: int,
        own: slice,
        reference: np.ndarray | None = None,
    ):
        self._shards = shards
        self._reference = reference
        self._plan = plan
        self._steps = steps
        # Of this process's rows in a whole step's.
        self._places = np.arange(plan.rows).reshape(micro_batches, -1)[:, own]

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        planned = self._plan.batch(int(step))
        places = self._places
        batch = empty_rows(rows=places.size, shape=self._plan.shape)
        for g, place in enumerate(places.reshape(-1)):
            if place < len(planned):
                row = planned[place]
                put_row(batch, g, self._paths(row.prefix.tolist(), row.branch.tolist(), row.shared.tolist()))
                if row.contrasted is not None:
                    self._put_contrasts(batch, g, row)
                if self._reference is not None:
                    compared = self._plan.lengths.comparisons_of(row.branch)
                    batch.answer_reference[g, : len(compared)] = self._reference[compared]
        return {
            name: array.reshape(*places.shape, *array.shape[1:]) for name, array in batch.arrays().items()
        }

    def _put_contrasts(self, batch: TreeRows, g: int, row: PlannedRow) -> None:
        """Every prompt of the row has one comparison, in the order of the prompts."""
        contrasted = row.contrasted
        here = slice(0, len(row.branch))
        batch.contrast_cell[g, here] = contrasted.local_cell
        batch.contrast_set[g, here] = contrasted.group
        batch.contrast_half[g, here] = contrasted.half
        batch.contrast_weight[g, here] = contrasted.weight
        statistics = self._shards.cell_statistics
        batch.contrast_mean[g, here] = statistics.mean[contrasted.cell]
        batch.contrast_error[g, here] = statistics.error[contrasted.cell]
        batch.contrast_answers[g, here] = statistics.answers[contrasted.cell]

    def digest(self, arrays: dict[str, np.ndarray]) -> int:
        """Of what `self[step]` gave: digests of several processes add up to that of the whole step (modulo 2^64).

        So what any number of processes fed can be compared with what was planned.
        """
        total = 0
        for number, place in np.ndenumerate(self._places):
            digest = hashlib.blake2b(int(place).to_bytes(8, "little"), digest_size=8)
            for name in sorted(arrays):
                digest.update(np.ascontiguousarray(arrays[name][number]))
            total += int.from_bytes(digest.digest(), "little")
        return total % 2**64

    def _paths(self, prefixes: list[int], branches: list[int], shared: list[int]) -> Iterator[PromptPath]:
        read: dict[int, np.ndarray] = {}
        for p, branch, tokens in zip(prefixes, branches, shared):
            if p not in read:
                read[p] = self._shards.prefix(p)
            yield PromptPath(read[p], self._shards.branch(branch), tokens)


@dataclasses.dataclass(frozen=True)
class LoadedBatch:
    """This process's rows of step number `step`, as arrays [M, own rows, ...], and their digest."""

    step: int
    arrays: dict[str, np.ndarray]
    digest: int


def batches(source: PlannedRows, *, first_step: int) -> Iterator[LoadedBatch]:
    """Batches from `first_step` to the end of the source, read ahead by one thread."""
    # The data position is the step alone: Grain's own iterator state depends on the number of processes.
    dataset = grain.MapDataset.source(source)[first_step:].map(lambda arrays: (arrays, source.digest(arrays)))
    iterator = iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)))
    for step, (arrays, digest) in enumerate(iterator, start=first_step):
        yield LoadedBatch(step, arrays, digest)
