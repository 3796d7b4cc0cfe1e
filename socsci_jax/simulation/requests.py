"""What is to be simulated: distinct prompts with the answers they allow, and the people each stands for."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from socsci_jax.data.prompt_table import PromptTable, shared_tokens, sort_by_tokens
from socsci_jax.data.row_fitting import round_up
from socsci_jax.data.shards import Sharing
from socsci_jax.data.trees import Branch, PromptPath, RowShape, TreeRows, empty_rows, grow_branch, put_row
from socsci_jax.data.tries import AnswerTrie

# One prefix is computed for a row of people who share it.  Rows are at least so many times as long as the longest, up to
# a length at which activations no longer fit small devices.
PREFIXES_PER_ROW = 3
LONGEST_ROW = 16_384
SMALLEST = 256


@dataclasses.dataclass(frozen=True, eq=False)
class Requests:
    """Distinct (prefix, prompt, kind) requests sorted by their tokens; of_pair[n] says which answers each pair."""

    prefix: np.ndarray
    prompt: np.ndarray
    kind: np.ndarray  # what else tells requests apart: the index of the answer trie
    of_pair: np.ndarray


def distinct_requests(table: PromptTable, kind_of_pair: np.ndarray, *, sharing: Sharing = "all") -> Requests:
    """Equal prompts with equal allowed answers are computed once; neighbors share the longest beginnings.

    With `sharing` "prefix" every pair is a request of its own, as if no two people were alike.
    """
    prefixes, prompts = sort_by_tokens(table.prefixes), sort_by_tokens(table.prompts)
    frame = pl.DataFrame(
        {
            "prefix": prefixes.rank[table.pair_prefix],
            "prompt": prompts.rank[table.pair_prompt],
            "kind": kind_of_pair,
        }
    )
    if sharing == "prefix":
        frame = frame.with_row_index("pair")
    order = ["prefix", "prompt", "kind"]
    unique = frame.unique().sort(*order, *set(frame.columns) - set(order)).with_row_index("request")
    of_pair = frame.join(unique, on=frame.columns, how="left", maintain_order="left")["request"]
    return Requests(
        prefix=prefixes.order[unique["prefix"].to_numpy()],
        prompt=prompts.order[unique["prompt"].to_numpy()],
        kind=unique["kind"].to_numpy(),
        of_pair=of_pair.to_numpy(),
    )


def branches_of(requests: Requests, table: PromptTable, tries: Sequence[AnswerTrie]) -> list[Branch]:
    """The branch of each request: the rest of its prompt, and its trie with weights of zero."""
    nothing = [np.zeros(len(trie.edge_id), np.float32) for trie in tries]
    return [
        grow_branch(table.prompts[prompt], tries[kind], nothing[kind])
        for prompt, kind in zip(requests.prompt, requests.kind)
    ]


@dataclasses.dataclass(frozen=True, eq=False)
class RequestRows:
    """Rows of prompt trees; request[n] stands in row[n] and has its target slots at slots[n], its reads from first_read[n]."""

    rows: TreeRows
    request: list[int]
    row: list[int]
    slots: list[slice]
    first_read: list[int]


def rows_of_requests(
    prefixes: Sequence[np.ndarray],
    prefix_of_request: np.ndarray,
    branches: Sequence[Branch],
    *,
    rows_at_a_time: int = 1,
    tokens_per_row: int,
    sharing: Sharing = "all",
) -> Iterator[RequestRows]:
    """All requests in their order, in rows of one static shape.

    What a request shares with the one before in its row, be it of the same prefix or only of the same study,
    is not computed again.  Rows have `tokens_per_row` tokens, or more if a prefix is long.
    """
    longest = max((len(prefixes[prefix]) for prefix in set(prefix_of_request.tolist())), default=0)
    prompts = [branch.ids[: branch.prompt_tokens] for branch in branches]
    sizes = _Sizes(
        whole=np.array(
            [len(prefixes[p]) + len(b.ids) for p, b in zip(prefix_of_request, branches)], np.int64
        ),
        shared=shared_with_previous(prefixes, prefix_of_request, prompts, sharing=sharing),
        reads=np.array([len(branch.read) for branch in branches], np.int64),
        slots=np.array([len(branch.slot_id) for branch in branches], np.int64),
    )
    cut = _cut_into_rows(sizes, row_length(longest, tokens_per_row))
    # Few sizes, so that passes over other requests find their program compiled.
    shape = RowShape(
        tokens=_coarse(max(row.tokens for row in cut)),
        reads=_coarse(max(row.reads for row in cut)),
        slots=_coarse(max(row.slots for row in cut)),
    )
    for start in range(0, len(cut), rows_at_a_time):
        batch = empty_rows(rows=rows_at_a_time, shape=shape)
        rows = RequestRows(batch, [], [], [], [])
        for g, row in enumerate(cut[start : start + rows_at_a_time]):
            paths = [
                PromptPath(prefixes[prefix_of_request[request]], branches[request], shared)
                for request, shared in zip(row.requests, row.shared)
            ]
            rows.request.extend(row.requests)
            rows.row.extend([g] * len(paths))
            rows.slots.extend(put_row(batch, g, paths))
            reads = [len(path.branch.read) for path in paths]
            rows.first_read.extend((np.cumsum(reads) - reads).tolist())
        yield rows


def _coarse(size: int) -> int:
    """The smallest of 256, 384, 512, 768, 1024, 1536, ... that is enough."""
    step = SMALLEST // 2
    while size > 4 * step:
        step *= 2
    return max(SMALLEST, round_up(size, step))


def row_length(longest: int, tokens_per_row: int) -> int:
    """Tokens of a row for prefixes of which the longest has so many."""
    return max(tokens_per_row, min(PREFIXES_PER_ROW * longest, LONGEST_ROW))


@dataclasses.dataclass(frozen=True, eq=False)
class _Sizes:
    """Of each request [n]: tokens with and without neighbors, reads and slots."""

    whole: np.ndarray
    shared: np.ndarray  # first tokens that the request before has too
    reads: np.ndarray
    slots: np.ndarray


@dataclasses.dataclass
class _Row:
    requests: list[int] = dataclasses.field(default_factory=list)
    shared: list[int] = dataclasses.field(default_factory=list)
    tokens: int = 0
    reads: int = 0
    slots: int = 0


def _cut_into_rows(sizes: _Sizes, tokens_per_row: int) -> list[_Row]:
    rows = [_Row()]
    for request, whole in enumerate(sizes.whole.tolist()):
        shared = int(sizes.shared[request]) if rows[-1].requests else 0
        if rows[-1].requests and rows[-1].tokens + whole - shared > tokens_per_row:
            rows.append(_Row())
            shared = 0
        row = rows[-1]
        row.requests.append(request)
        row.shared.append(shared)
        row.tokens += whole - shared
        row.reads += int(sizes.reads[request])
        row.slots += int(sizes.slots[request])
    return rows


def shared_with_previous(
    prefixes: Sequence[np.ndarray],
    prefix_of_request: np.ndarray,
    prompts: Sequence[np.ndarray],
    *,
    sharing: Sharing = "all",
) -> np.ndarray:
    """First tokens [n] of each request's prompt that the request before it has too.

    Requests sorted by their tokens (`distinct_requests`) share no more with any earlier one than with the one before.
    """
    shared = np.zeros(len(prompts), np.int64)
    between = functools.cache(lambda a, b: shared_tokens(prefixes[a], np.append(prefixes[b], -1)))
    for request in range(1, len(prompts)):
        before, this = int(prefix_of_request[request - 1]), int(prefix_of_request[request])
        if sharing == "prefix":
            shared[request] = len(prefixes[this]) if before == this else 0
        elif before != this:
            # What lies beyond a prefix is not compared: it is the personas' part.
            shared[request] = between(before, this)
        else:
            own = shared_tokens(prompts[request - 1], prompts[request])
            shared[request] = len(prefixes[this]) + own
    return shared


@dataclasses.dataclass(frozen=True)
class TokenCounts:
    """Tokens of a set of requests: those of its tree, each once, and those that rows of one length compute."""

    distinct: int
    computed: int


def count_tokens(
    requests: Requests, table: PromptTable, tries: Sequence[AnswerTrie], *, tokens_per_row: int
) -> TokenCounts:
    """What computing the requests costs, without padding."""
    prompts = [table.prompts[prompt] for prompt in requests.prompt]
    nodes = np.array([trie.num_nodes for trie in tries], np.int64)[requests.kind]
    prefix_length = np.array([len(table.prefixes[prefix]) for prefix in requests.prefix], np.int64)
    nothing = np.zeros(len(prompts), np.int64)
    sizes = _Sizes(
        whole=prefix_length + np.array(list(map(len, prompts)), np.int64) + nodes,
        shared=shared_with_previous(table.prefixes, requests.prefix, prompts),
        reads=nothing,
        slots=nothing,
    )
    rows = _cut_into_rows(sizes, row_length(int(prefix_length.max(initial=0)), tokens_per_row))
    distinct = int((sizes.whole - sizes.shared).sum())
    return TokenCounts(distinct=distinct, computed=sum(row.tokens for row in rows))
