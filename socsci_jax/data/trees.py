"""Prompt trees in rows: every token that several prompts share stands once.  All the model ever sees is one of these.

A row is a sequence of tokens in which prompts follow each other in depth-first order: each gives only the tokens
that it does not share with the one before, and then a trie of answers.  One rule says who sees whom: token j is
seen by token i of its row iff j <= i < end[j].  Prefixes, personas with equal beginnings, answers and the
padding between trees all follow from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from socsci_jax.data.branch_targets import NO_COMPARISONS, Comparisons
from socsci_jax.data.tries import AnswerTrie


@dataclasses.dataclass(frozen=True, eq=False)
class Branch:
    """What follows a shared prefix: the rest of a prompt (at least one token), then a trie of answers.

    ids[s] in depth-first order, depth[s] (0 = directly after the prefix), end[s] (token j is seen by token i of
    the branch iff j <= i < end[j]).
    read[r]: tokens whose output is read, the prompt's last one first.  Target slots: slot_read[a] (index into
    read), slot_id[a], slot_weight[a].  `comparisons` are sets of answers that are weighed against each other.
    """

    ids: np.ndarray
    depth: np.ndarray
    end: np.ndarray
    read: np.ndarray
    slot_read: np.ndarray
    slot_id: np.ndarray
    slot_weight: np.ndarray
    comparisons: Comparisons = NO_COMPARISONS

    @property
    def prompt_tokens(self) -> int:
        return int(self.read[0]) + 1


def grow_branch(
    prompt: Sequence[int],
    trie: AnswerTrie,
    edge_weights: np.ndarray,
    comparisons: Comparisons = NO_COMPARISONS,
) -> Branch:
    """The branch of a prompt (at least one token: a prefix is never read) and its answers."""
    n = len(prompt)
    total = n + trie.num_nodes
    ids = np.empty(total, np.int32)
    ids[:n] = prompt
    ids[n:] = trie.node_id
    depth = np.arange(total, dtype=np.int32)
    depth[n:] = n + trie.node_depth
    end = np.full(total, total, np.int32)
    end[n:] = n + trie.node_end
    # Every node is read: it is fed only because something is predicted from it.
    read = np.arange(n - 1, total, dtype=np.int32)
    return Branch(
        ids=ids,
        depth=depth,
        end=end,
        read=read,
        slot_read=trie.edge_read,
        slot_id=trie.edge_id,
        slot_weight=edge_weights.astype(np.float32),
        comparisons=comparisons,
    )


@dataclasses.dataclass(frozen=True, order=True)
class RowShape:
    """The static shape of a row: its tokens, reads and target slots; and its comparisons, if an objective has any,
    each of at most so many answers of so many slots; with `contrasts` comparisons may belong to arms of an outcome."""

    tokens: int
    reads: int
    slots: int
    comparisons: int = 0
    answers: int = 0
    path: int = 0
    contrasts: bool = False

    @property
    def needs(self) -> tuple[int, int, int]:
        """Room besides tokens: reads, slots, comparisons."""
        return self.reads, self.slots, self.comparisons


@dataclasses.dataclass(frozen=True, eq=False)
class TreeRows:
    """G rows of prompt trees, padded to one shape; the arrays that a step takes.

    ids, position, end [G,T]; read [G,R] (ascending); slot_read (index into read), slot_id, slot_weight [G,A].
    Padding: end 0 (nobody sees it), the last read again, weight 0.
    Where there are comparisons, as in `Comparisons`: answer_path [G,C,L,P] (slots of the row, -1 is padding),
    answer_target, answer_gap and answer_reference [G,C,L], comparison_weight [G,C].  The reference is for the
    loader to fill, as is what contrasts need [G,C]: the cell (arm) and the set that a comparison belongs to, both counted
    within the micro-batch, the half of the people, its weight (1 over the people of its cell, 0 if it is no contrast), and
    of people's answers in the arm the mean, its standard error and their number.
    """

    ids: np.ndarray
    position: np.ndarray
    end: np.ndarray
    read: np.ndarray
    slot_read: np.ndarray
    slot_id: np.ndarray
    slot_weight: np.ndarray
    answer_path: np.ndarray
    answer_target: np.ndarray
    answer_gap: np.ndarray
    answer_reference: np.ndarray
    comparison_weight: np.ndarray
    contrast_cell: np.ndarray
    contrast_set: np.ndarray
    contrast_half: np.ndarray
    contrast_weight: np.ndarray
    contrast_mean: np.ndarray
    contrast_error: np.ndarray
    contrast_answers: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """What a step takes: without comparisons, nothing of them."""
        arrays = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: array for name, array in arrays.items() if array.size}


@dataclasses.dataclass(frozen=True, eq=False)
class PromptPath:
    """One prompt of a row: a prefix, a branch, and how many of its first tokens the prompt before it has too.

    Those are counted from the beginning of the prefix; 0 begins a new tree.
    """

    prefix: np.ndarray
    branch: Branch
    shared: int


# Arrays of contrasts: places, and values.
CONTRAST_PLACES = ("contrast_cell", "contrast_set", "contrast_half")
CONTRAST_VALUES = ("contrast_weight", "contrast_mean", "contrast_error", "contrast_answers")


def empty_rows(*, rows: int, shape: RowShape) -> TreeRows:
    """Rows of padding, to be filled by `put_row`."""

    def zeros(size: int) -> np.ndarray:
        return np.zeros((rows, size), np.int32)

    return TreeRows(
        ids=zeros(shape.tokens),
        position=zeros(shape.tokens),
        end=zeros(shape.tokens),
        read=zeros(shape.reads),
        slot_read=zeros(shape.slots),
        slot_id=zeros(shape.slots),
        slot_weight=np.zeros((rows, shape.slots), np.float32),
        answer_path=np.full((rows, shape.comparisons, shape.answers, shape.path), -1, np.int32),
        answer_target=np.zeros((rows, shape.comparisons, shape.answers), np.float32),
        answer_gap=np.zeros((rows, shape.comparisons, shape.answers), np.float32),
        answer_reference=np.zeros((rows, shape.comparisons, shape.answers), np.float32),
        comparison_weight=np.zeros((rows, shape.comparisons), np.float32),
        **{name: zeros(shape.comparisons * shape.contrasts) for name in CONTRAST_PLACES},
        **{
            name: np.zeros((rows, shape.comparisons * shape.contrasts), np.float32)
            for name in CONTRAST_VALUES
        },
    )


def put_row(rows: TreeRows, g: int, paths: Iterable[PromptPath]) -> list[slice]:
    """Writes the paths into row g, which they must fit; returns the target slots of each."""
    ids, position, end, read = rows.ids[g], rows.position[g], rows.end[g], rows.read[g]
    tokens = reads = slots = comparisons = 0
    # Where in the row each token of the prompt before stands: tokens of the new prompt hang below these.
    trail = np.zeros(len(ids), np.int64)
    trail_length = 0
    slots_of_path = []
    for path in paths:
        branch, shared, before = path.branch, path.shared, len(path.prefix)
        own = branch.prompt_tokens
        length = before + own
        end[trail[shared:trail_length]] = tokens
        here = np.arange(tokens, tokens + length - shared)
        trail[shared:length] = here
        trail_length = length
        if shared < before:
            ids[tokens : tokens + before - shared] = path.prefix[shared:]
        skipped = max(shared - before, 0)
        ids[tokens + length - shared - (own - skipped) : tokens + length - shared] = branch.ids[skipped:own]
        position[here] = np.arange(shared, length)
        tokens += length - shared

        nodes = len(branch.ids) - own
        ids[tokens : tokens + nodes] = branch.ids[own:]
        position[tokens : tokens + nodes] = before + branch.depth[own:]
        end[tokens : tokens + nodes] = tokens - own + branch.end[own:]
        read[reads] = trail[length - 1]
        read[reads + 1 : reads + 1 + nodes] = np.arange(tokens, tokens + nodes)
        tokens += nodes

        count = len(branch.slot_id)
        of_path = slice(slots, slots + count)
        rows.slot_read[g, of_path] = reads + branch.slot_read
        rows.slot_id[g, of_path] = branch.slot_id
        rows.slot_weight[g, of_path] = branch.slot_weight
        slots_of_path.append(of_path)
        comparisons += _put_comparisons(rows, g, comparisons, branch.comparisons, first_slot=slots)
        slots += count
        reads += 1 + nodes
    end[trail[:trail_length]] = tokens
    read[reads:] = read[reads - 1] if reads else 0
    return slots_of_path


def _put_comparisons(rows: TreeRows, g: int, start: int, comparisons: Comparisons, *, first_slot: int) -> int:
    """Writes comparisons from `start` on and returns their number."""
    if not comparisons.count:
        return 0
    here = slice(start, start + comparisons.count)
    _, answers, path = comparisons.path.shape
    rows.answer_path[g, here, :answers, :path] = np.where(
        comparisons.path < 0, -1, comparisons.path + first_slot
    )
    rows.answer_target[g, here, :answers] = comparisons.target
    rows.answer_gap[g, here, :answers] = comparisons.gap
    rows.comparison_weight[g, here] = comparisons.weight
    return comparisons.count
