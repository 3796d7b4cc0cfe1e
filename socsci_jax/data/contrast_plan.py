"""Batches of contrasts: which outcomes stand in step t, with all their arms and the same few people in each.

As `plan.py`, a pure function of (lengths, seed, t) that knows nothing of hosts.  An outcome with its people is never torn
apart: its loss is no sum over rows, so all of it stands in one micro-batch.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Sequence

import numpy as np

from socsci_jax.data.contrasts import FEWEST_PERSONAS
from socsci_jax.data.plan import MULTIPLE, BatchPlan, Contrasted, EpochPlan, Lengths, PlannedRow
from socsci_jax.data.row_fitting import round_up, shared_with_previous
from socsci_jax.data.trees import RowShape
from socsci_jax.errors import InputError
from socsci_jax.wording import counted

# Micro-batches that are filled at a time; more leave less padding and cost time to plan.
OPEN = 8


@dataclasses.dataclass(frozen=True, eq=False)
class _Tree:
    """Branches of one prefix, what they share with the one before, and what they take of a row."""

    branch: np.ndarray
    shared: np.ndarray
    cell: np.ndarray
    half: np.ndarray
    tokens: int
    needs: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class _Group:
    """All arms of a set for some of its people: branches [arms, people], and the trees that hold them."""

    branches: np.ndarray
    trees: list[_Tree]

    @property
    def people(self) -> int:
        return self.branches.shape[1]

    @property
    def tokens(self) -> int:
        return sum(tree.tokens for tree in self.trees)


class ContrastPlan(EpochPlan):
    """In each epoch the people of every set are shuffled and cut into groups of about `personas`, or fewer where a
    micro-batch cannot hold them, so that each person is asked about all arms once; groups are packed in random order into micro-batches, each in rows of one shape."""

    def __init__(
        self,
        lengths: Lengths,
        *,
        rows: int,
        micro_batches: int,
        tokens_per_row: int,
        personas: int,
        seed: int,
    ):
        """Plans `rows` rows a step.  Raises InputError if there is nothing to contrast, or an outcome that no micro-batch holds."""
        super().__init__(lengths, rows=rows)
        self._personas, self._seed = personas, seed
        self._rows_of_micro_batch = rows // micro_batches
        self._sets = _branches_of_sets(lengths)
        if not self._sets:
            raise InputError("the training data hold no outcome with two arms: there is nothing to contrast.")
        self._tokens_per_row = tokens_per_row
        self.shape = self._row_shape(tokens_per_row)
        self.steps(1)  # raises for an outcome that does not fit

    def _plan_epoch(self, epoch: int) -> list[PlannedRow]:
        rng = np.random.default_rng([self._seed, epoch, 1])
        groups = [part for group in self._groups(rng) for part in self._fitting(group)]
        closed: list[_MicroBatch] = []
        opened: list[_MicroBatch] = []
        for number in rng.permutation(len(groups)):
            group = groups[number]
            if not any(one.takes(group) for one in opened):
                opened.append(self._empty_micro_batch())
                opened[-1].takes(group)
            if len(opened) > OPEN:
                fullest = min(range(OPEN), key=lambda n: opened[n].free)
                closed.append(opened.pop(fullest))
        closed += opened
        return [row for n in rng.permutation(len(closed)) for row in closed[n].planned(self.lengths)]

    def _empty_micro_batch(self) -> _MicroBatch:
        return _MicroBatch(self._rows_of_micro_batch, self.shape)

    def _fitting(self, group: _Group) -> list[_Group]:
        """The group, or where a micro-batch cannot hold it groups of fewer people."""
        if self._empty_micro_batch().takes(group):
            return [group]
        people = group.branches.shape[1]
        if people < 2 * FEWEST_PERSONAS:
            raise InputError(self._too_large(group))
        halves = np.array_split(np.arange(people), 2)
        return [part for half in halves for part in self._fitting(self._group(group.branches[:, half]))]

    def _groups(self, rng: np.random.Generator) -> list[_Group]:
        groups = []
        for branches in self._sets:  # [arms, people]
            people = branches.shape[1]
            for chosen in np.array_split(rng.permutation(people), max(1, round(people / self._personas))):
                groups.append(self._group(branches[:, chosen]))
        return groups

    def _group(self, branches: np.ndarray) -> _Group:
        """The trees of branches [arms, people]; every second person belongs to the second half."""
        lengths = self.lengths
        half = np.broadcast_to(np.arange(branches.shape[1]) % 2, branches.shape).reshape(-1)
        order = np.argsort(branches, axis=None, kind="stable")
        branch, half = branches.reshape(-1)[order], half[order]
        prefix = lengths.branch_prefix[branch]
        trees = []
        for whole in np.split(np.arange(len(branch)), np.flatnonzero(np.diff(prefix)) + 1):
            room = self._tokens_per_row - lengths.prefix_tokens[prefix[whole[0]]]
            width = max(1, room // int(lengths.branch_tokens[branch[whole]].max()))
            for part in np.array_split(whole, -(-len(whole) // width)):
                trees.append(self._tree(branch[part], half[part]))
        return _Group(branches, trees)

    def _tree(self, branch: np.ndarray, half: np.ndarray) -> _Tree:
        lengths = self.lengths
        before = lengths.prefix_tokens[lengths.branch_prefix[branch[0]]]
        shared = before + shared_with_previous(lengths.branch_shared, branch)
        shared[0] = 0
        new = before + lengths.branch_tokens[branch] - shared
        return _Tree(
            branch=branch,
            shared=shared,
            cell=lengths.branch_cell[branch],
            half=half,
            tokens=int(new.sum()),
            needs=lengths.branch_needs[branch].sum(axis=0),
        )

    def _row_shape(self, tokens_per_row: int) -> RowShape:
        """Room for as many reads, slots and comparisons as an epoch has on average, and for any group that is spread evenly
        over the rows of a micro-batch: beyond that by one tree."""
        groups = self._groups(np.random.default_rng(self._seed))
        needs = [np.stack([tree.needs for tree in group.trees]) for group in groups]
        rows = max(1.0, sum(group.tokens for group in groups) / tokens_per_row)
        average = 1.1 * np.sum([of_group.sum(axis=0) for of_group in needs], axis=0) / rows
        largest = np.max(
            [of_group.sum(axis=0) / self._rows_of_micro_batch + of_group.max(axis=0) for of_group in needs],
            axis=0,
        )
        reads, slots, comparisons = (
            round_up(int(np.ceil(most)), MULTIPLE) for most in np.maximum(average, largest)
        )
        return RowShape(
            tokens_per_row,
            reads,
            slots,
            comparisons=comparisons,
            answers=self.lengths.answers_of_comparison,
            path=self.lengths.slots_of_answer,
            contrasts=True,
        )

    def _too_large(self, group: _Group) -> str:
        rows, tokens = self._rows_of_micro_batch, self._tokens_per_row
        arms = sum(len(tree.branch) for tree in group.trees) // group.people
        return (
            f"an outcome with {counted(arms, 'arm')} takes for {counted(group.people, 'person')} {counted(group.tokens, 'token')}, which {counted(rows, 'row')} of "
            f"{tokens:,} do not hold; all of it must stand in one micro-batch: raise batch.rows (or "
            "batch.contrast_rows) or batch.tokens_per_row."
        )


def _branches_of_sets(lengths: Lengths) -> list[np.ndarray]:
    """Branch numbers [arms, people] of each set."""
    contrasted = np.flatnonzero(lengths.branch_cell >= 0)
    cell, person = lengths.branch_cell[contrasted], lengths.branch_person[contrasted]
    order = np.lexsort((person, cell))
    of_set: dict[int, list[np.ndarray]] = {}
    for arm in np.split(contrasted[order], np.flatnonzero(np.diff(cell[order])) + 1):
        if len(arm):
            of_set.setdefault(int(lengths.cell_set[lengths.branch_cell[arm[0]]]), []).append(arm)
    return [np.stack(of_set[number]) for number in sorted(of_set)]


class _MicroBatch:
    """Rows that are being filled with whole groups."""

    def __init__(self, rows: int, shape: RowShape):
        self._trees: list[list[tuple[_Tree, int]]] = [[] for _ in range(rows)]
        self._tokens = [shape.tokens] * rows  # free
        self._needs = np.tile(np.array(shape.needs), (rows, 1))  # free
        self._people: list[int] = []

    @property
    def free(self) -> int:
        return sum(self._tokens)

    def takes(self, group: _Group) -> bool:
        """Puts all trees of the group into rows, each into the fullest that holds it; False, and nothing put, if one fits none."""
        tokens, needs = list(self._tokens), self._needs.copy()
        places = []
        for tree in sorted(group.trees, key=lambda tree: -tree.tokens):
            by_room = sorted(range(len(tokens)), key=tokens.__getitem__)
            start = bisect.bisect_left([tokens[row] for row in by_room], tree.tokens)
            row = next((r for r in by_room[start:] if (needs[r] >= tree.needs).all()), None)
            if row is None:
                return False
            tokens[row] -= tree.tokens
            needs[row] -= tree.needs
            places.append((row, tree))
        self._tokens, self._needs = tokens, needs
        for row, tree in places:
            self._trees[row].append((tree, len(self._people)))
        self._people.append(group.people)
        return True

    def planned(self, lengths: Lengths) -> list[PlannedRow]:
        """The rows; cells and sets are counted within the micro-batch."""
        numbers: dict[tuple[int, int], int] = {}
        return [self._row(members, numbers, lengths) for members in self._trees]

    def _row(
        self, members: list[tuple[_Tree, int]], numbers: dict[tuple[int, int], int], lengths: Lengths
    ) -> PlannedRow:
        def joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
            return np.concatenate([np.zeros(0, np.int64), *arrays]).astype(np.int64)

        branch = joined([tree.branch for tree, _ in members])
        group = joined([np.full(len(tree.branch), number) for tree, number in members])
        cell = joined([tree.cell for tree, _ in members])
        local = [numbers.setdefault(key, len(numbers)) for key in zip(group.tolist(), cell.tolist())]
        return PlannedRow(
            prefix=lengths.branch_prefix[branch],
            branch=branch,
            shared=joined([tree.shared for tree, _ in members]),
            contrasted=Contrasted(
                cell=cell,
                local_cell=np.array(local, np.int64),
                group=group,
                half=joined([tree.half for tree, _ in members]),
                weight=np.array([1 / self._people[number] for number in group], np.float32),
            ),
        )


class MixedPlan(EpochPlan):
    """Steps of answers with contrasts added: each micro-batch begins with its rows of contrasts.

    Epochs are those of the answers; contrasts go through epochs of their own.
    """

    def __init__(self, plain: BatchPlan, contrasts: ContrastPlan, *, micro_batches: int):
        super().__init__(contrasts.lengths, rows=plain.rows + contrasts.rows)
        self._plain, self._contrasts, self._micro_batches = plain, contrasts, micro_batches
        self.shape = RowShape(
            *(
                max(getattr(plan.shape, field.name) for plan in (plain, contrasts))
                for field in dataclasses.fields(RowShape)
            )
        )

    def steps(self, epochs: float) -> int:
        return self._plain.steps(epochs)

    def steps_of_all(self) -> int:
        return max(self._plain.steps(1), self._contrasts.steps(1))

    def batch(self, step: int) -> list[PlannedRow]:
        rows = []
        parts = [
            _cut(plan.batch(step), plan.rows, self._micro_batches) for plan in (self._contrasts, self._plain)
        ]
        for of_micro_batch in zip(*parts):
            rows += [row for part in of_micro_batch for row in part]
        return rows


def _cut(rows: list[PlannedRow], count: int, pieces: int) -> list[list[PlannedRow]]:
    """`count` rows, filled up with empty ones, in equal pieces."""
    nothing = np.zeros(0, np.int64)
    rows = rows + [PlannedRow(nothing, nothing, nothing)] * (count - len(rows))
    return [rows[start : start + count // pieces] for start in range(0, count, count // pieces)]
