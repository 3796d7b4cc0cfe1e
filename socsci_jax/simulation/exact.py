"""Exact distributions: the probability that the model gives to each allowed answer, end of answer included."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np
from scipy.special import logsumexp

from socsci_jax.data.prompt_table import PromptTable
from socsci_jax.data.trees import grow_branch
from socsci_jax.data.tries import AnswerTrie
from socsci_jax.models.slots import tree_log_probs
from socsci_jax.simulation.model import SimulationModel
from socsci_jax.simulation.requests import distinct_requests, rows_of_requests


@dataclasses.dataclass(frozen=True, eq=False)
class Distribution:
    """Probabilities over the levels of an item, and what the model gave to them before renormalising."""

    probs: np.ndarray
    mass_on_levels: float


def exact_distributions(
    model: SimulationModel,
    table: PromptTable,
    *,
    tries: Sequence[AnswerTrie],
    trie_of_pair: np.ndarray,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Distribution]:
    """One distribution for each pair of `table`, over the answers of its trie, in their order.

    P(answer) is the product of the probabilities of its tokens and of the end of the answer, each over the
    whole vocabulary; the allowed answers are then renormalised to one.
    """
    requests = distinct_requests(table, trie_of_pair)
    nothing = [np.zeros(len(trie.edge_id), np.float32) for trie in tries]
    branches = [
        grow_branch(table.prompts[prompt], tries[kind], nothing[kind])
        for prompt, kind in zip(requests.prompt, requests.kind)
    ]
    score = jax.jit(functools.partial(tree_log_probs, config=model.config, compute_dtype=model.compute_dtype))
    found: list[Distribution] = []
    with jax.set_mesh(model.mesh):
        for batch in rows_of_requests(
            table.prefixes, requests.prefix, branches, rows_at_a_time=model.rows_at_a_time
        ):
            log_probs = np.asarray(score(model.params, model.place(batch.rows.arrays())))
            for request, row, slots in zip(batch.request, batch.row, batch.slots):
                edges = log_probs[row, slots].astype(np.float64)
                found.append(_normalised(tries[requests.kind[request]].answer_log_probs(edges)))
            progress(len(found), len(branches))
    return [found[request] for request in requests.of_pair]


def _normalised(answer_log_probs: np.ndarray) -> Distribution:
    total = logsumexp(answer_log_probs)
    return Distribution(probs=np.exp(answer_log_probs - total), mass_on_levels=float(np.exp(total)))
