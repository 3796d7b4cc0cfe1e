"""Exact distributions: the probability that the model gives to each allowed answer, end of answer included."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import numpy as np

from socsci_jax.data.prompt_table import PromptTable
from socsci_jax.data.shards import Sharing
from socsci_jax.data.tokenizers import Tokenizer
from socsci_jax.data.tries import NO_ANSWERS, AnswerTrie, build_trie
from socsci_jax.models.slots import tree_log_probs
from socsci_jax.simulation.model import SimulationModel, fetch
from socsci_jax.simulation.requests import RequestRows, branches_of, distinct_requests, rows_of_requests
from socsci_jax.studies.scale import Number, format_value

_score = jax.jit(tree_log_probs, static_argnames=("config", "compute_dtype"))


@dataclasses.dataclass(frozen=True, eq=False)
class Distribution:
    """Probabilities over the levels of an item, and what the model gave to them before renormalizing."""

    probs: np.ndarray
    mass_on_levels: float


def answer_tries(
    tokenizer: Tokenizer, answers: Sequence[tuple[Number, ...]]
) -> tuple[list[AnswerTrie], np.ndarray]:
    """The distinct tries of allowed answers, and which one each of `answers` has; the empty one where there are none."""
    distinct = sorted(set(answers))
    index = {allowed: number for number, allowed in enumerate(distinct)}
    tries = [
        build_trie(
            tokenizer.encode_batch(list(map(format_value, allowed))), end_id=tokenizer.end_of_answer_id
        )
        if allowed
        else NO_ANSWERS
        for allowed in distinct
    ]
    return tries, np.array([index[allowed] for allowed in answers])


def exact_distributions(
    model: SimulationModel,
    table: PromptTable,
    *,
    tries: Sequence[AnswerTrie],
    trie_of_pair: np.ndarray,
    sharing: Sharing = "all",
    tokens_per_row: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Distribution]:
    """One distribution for each pair of `table`, over the answers of its trie, in their order.

    P(answer) is the product of the probabilities of its tokens and of the end of the answer, each over the
    whole vocabulary; the allowed answers are then renormalized to one.  `sharing` changes how much is computed
    once, and `tokens_per_row` (by default what suits the device) how much at a time, not the result.
    """
    requests = distinct_requests(table, trie_of_pair, sharing=sharing)
    branches = branches_of(requests, table, tries)
    distributions: list[Distribution] = []
    rows = rows_of_requests(
        table.prefixes,
        requests.prefix,
        branches,
        rows_at_a_time=model.rows_at_a_time,
        tokens_per_row=tokens_per_row or model.tokens_per_row,
        sharing=sharing,
    )
    with jax.set_mesh(model.mesh):
        for batch, log_probs in _one_ahead(_scored(model, rows)):
            log_probs = fetch(log_probs)
            for request, row, slots in zip(batch.request, batch.row, batch.slots):
                edges = log_probs[row, slots].astype(np.float64)
                distributions.append(_normalized(tries[requests.kind[request]].answer_log_probs(edges)))
            progress(len(distributions), len(branches))
    return [distributions[request] for request in requests.of_pair]


def _scored(model: SimulationModel, rows: Iterable[RequestRows]) -> Iterator[tuple[RequestRows, jax.Array]]:
    settings = {"config": model.config, "compute_dtype": model.compute_dtype}
    for batch in _made_ahead(iter(rows)):
        yield batch, _score(model.params, model.place(batch.rows.arrays()), **settings)


def _made_ahead(batches: Iterator[RequestRows]) -> Iterator[RequestRows]:
    """The same batches; a thread makes the next while one is computed and another is read."""
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch


def _one_ahead(results: Iterator) -> Iterator:
    """The same results, each once the next is under way: the device computes while the host reads."""
    before = next(results, None)
    for result in results:
        yield before
        before = result
    if before is not None:
        yield before


def _normalized(answer_log_probs: np.ndarray) -> Distribution:
    highest = answer_log_probs.max()
    relative = np.exp(answer_log_probs - highest)
    total = relative.sum()
    return Distribution(probs=relative / total, mass_on_levels=float(np.exp(highest) * total))
