"""Whole respondents: items asked one after another in one conversation, P(y2 | y1, persona) exactly.

Two ways.  `joint_distributions` enumerates every combination of answers: the conversations that lead to an item are
branches of one prompt tree, one for each combination of earlier answers.  `draw_respondents` walks down such a tree, one
branch for each respondent, and draws each answer from its exact distribution given those before (ancestral sampling).
Neither has a temperature: the draws are from the distribution that the other computes.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.simulation.batches import finished_batches, in_batches
from socsci_jax.simulation.conversations import Conversation, check_length, tokenize_conversations
from socsci_jax.simulation.exact import Distribution, answer_tries, exact_distributions
from socsci_jax.simulation.model import SimulationModel, params_hash
from socsci_jax.simulation.sampling import uniforms
from socsci_jax.studies.chains import Chain, Joint
from socsci_jax.studies.prompts import Layout
from socsci_jax.studies.scale import Number, exact_number, format_value

# Conversations that are tokenized and scored together: what they hold in memory is bounded, and little is shared beyond.
AT_A_TIME = 1024
# Combinations of earlier answers for which the last item of one chain is asked: beyond this, respondents are drawn.
MOST_COMBINATIONS = 1024

# More conversations than these are announced, because they take long.
MANY = 50_000

logger = logging.getLogger(__name__)

# Takes (done, total), in conversations.
Report = Callable[[int, int], None]


def _nothing(done: int, total: int) -> None:
    pass


def _part(report: Report, *, done: int, share: int, total: int) -> Report:
    """Reports on a part of `share` conversations, as of `total` of which so many were `done` before."""

    def shown(own: int, of: int) -> None:
        report(done + share * own // of, total)

    return shown


def answers_of(chain: Chain, layout: Layout) -> tuple[tuple[Number, ...], ...]:
    """The answers to each item of a chain; raises InputError for an item that has no finite set of them."""
    of_items = tuple(layout.answers(item.scale) for item in chain.items)
    for item, answers in zip(chain.items, of_items):
        if not answers:
            raise InputError(
                f"{item.study_id}, outcome {item.outcome!r}: its scale has no finite set of answers, so that no exact "
                "probability stands behind the next question; leave this outcome out."
            )
    return of_items


def check_exact(model: SimulationModel) -> None:
    """Raises InputError for a model whose answers have no exact probability."""
    data = (model.metadata.get("recipe") or {}).get("data") or {}
    if data.get("rationales"):
        raise InputError(
            f"{model.metadata['name']}: this model writes a rationale before its number, so the number alone has no exact "
            "probability, and answers cannot be chained; use a model that was trained without rationales."
        )


def conversation_metadata(model: SimulationModel, layout: Layout) -> dict[str, Any]:
    """What a data set of chained answers says of where it is from."""
    training = dict(model.metadata)
    return {
        "model": training.pop("name"),
        "model_hash": params_hash(model.params),
        "recipe": training.pop("recipe", None),
        "layout": layout.to_dict(),
        "versions": training.pop("software", None),
        "trained_on": None if model.trained_on is None else model.trained_on.digest,
    }


def conversations_needed(chain: Chain, layout: Layout) -> int:
    """How many conversations the joint distribution of a chain takes."""
    sizes = [len(answers) for answers in answers_of(chain, layout)]
    return int(sum(np.cumprod([1, *sizes[:-1]], dtype=float)))


def joint_distributions(
    model: SimulationModel,
    chains: Sequence[Chain],
    *,
    layout: Layout,
    report: Report = _nothing,
    beside: Path | None = None,
) -> list[Joint]:
    """The joint distribution of all answers of each chain: P(y1) P(y2 | y1) ... , each factor exact.

    Finished batches wait `beside` a file that is to be written, so that the same call resumes (`discard_batches`).
    Raises InputError for a model or an item without exact probabilities, for conversations that are longer than the model
    takes, and for chains of more than MOST_COMBINATIONS combinations of answers before the last.
    """
    check_exact(model)
    counts = [conversations_needed(chain, layout) for chain in chains]
    for chain in chains:
        combinations = np.prod([float(len(answers)) for answers in answers_of(chain, layout)[:-1]])
        if combinations > MOST_COMBINATIONS:
            raise InputError(
                f"{chain.items[0].study_id}: {combinations:,.0f} combinations of answers before the last question, at most "
                f"{MOST_COMBINATIONS:,} are enumerated; ask fewer outcomes together, or draw respondents."
            )

    if sum(counts) > MANY:
        logger.warning(
            "%s conversations for exact joint distributions of %s chains.",
            f"{sum(counts):,}",
            f"{len(chains):,}",
        )

    def compute(batch: slice) -> pl.DataFrame:
        asked = [one for chain in chains[batch] for one in _all_conversations(chain, layout)]
        part = _part(report, done=sum(counts[: batch.start]), share=len(asked), total=sum(counts))
        distributions = iter(_distributions(model, asked, layout, part))
        own = [
            _joint(chain, layout, list(itertools.islice(distributions, count)))
            for chain, count in zip(chains[batch], counts[batch])
        ]
        return pl.DataFrame(
            {"probs": [probs.ravel() for probs, _ in own], "mass": [list(mass) for _, mass in own]},
            schema={"probs": pl.List(pl.Float64), "mass": pl.List(pl.Float64)},
        )

    kept = None if beside is None else finished_batches(beside, "pairs", model, layout, chains)
    joints: list[Joint] = []
    for frame in in_batches(_batches(counts), compute, kept=kept):
        for (probs, mass), chain in zip(frame.iter_rows(), chains[len(joints) :]):
            answers = answers_of(chain, layout)
            joints.append(Joint(answers, np.reshape(probs, tuple(map(len, answers))), tuple(mass)))
    return joints


def draw_respondents(
    model: SimulationModel,
    chains: Sequence[Chain],
    keys: Sequence[str],
    *,
    layout: Layout,
    seed: int = 0,
    report: Report = _nothing,
    beside: Path | None = None,
) -> list[tuple[Number, ...]]:
    """One respondent for each chain: its answers, each drawn from its exact distribution given those before.

    The random numbers of a respondent depend on `seed` and its key alone, not on who else is asked.  Respondents who have
    given the same answers so far are computed once.  `beside`, and InputError, as for `joint_distributions`.
    """
    check_exact(model)
    answers = [answers_of(chain, layout) for chain in chains]
    chance = [uniforms(seed, key, 0, len(chain.items)) for key, chain in zip(keys, chains, strict=True)]
    _check_longest(model, chains, layout)
    total = sum(len(chain.items) for chain in chains)

    def compute(batch: slice) -> pl.DataFrame:
        numbers = range(len(chains))[batch]
        drawn: dict[int, tuple[Number, ...]] = dict.fromkeys(numbers, ())
        done = sum(len(chain.items) for chain in chains[: batch.start])
        while going := [n for n in numbers if len(drawn[n]) < len(chains[n].items)]:
            asked = [Conversation(chains[n], drawn[n]) for n in going]
            part = _part(report, done=done, share=len(going), total=total)
            for n, distribution in zip(going, _distributions(model, asked, layout, part)):
                k = len(drawn[n])
                drawn[n] = (*drawn[n], _pick(answers[n][k], distribution.probs, chance[n][k]))
            done += len(going)
        return pl.DataFrame(
            {"answers": [list(map(float, drawn[n])) for n in numbers]},
            schema={"answers": pl.List(pl.Float64)},
        )

    kept = None
    if beside is not None:
        kept = finished_batches(beside, "respondents", model, layout, chains, keys=keys, seed=seed)
    frames = in_batches(_batches([1] * len(chains)), compute, kept=kept)
    return [tuple(map(exact_number, given)) for frame in frames for (given,) in frame.iter_rows()]


def _check_longest(model: SimulationModel, chains: Sequence[Chain], layout: Layout) -> None:
    """Raises InputError if a whole conversation is longer than the model takes, before any is computed."""
    distinct = {(id(chain.items), id(chain.persona)): chain for chain in chains}
    longest = [
        Conversation(chain, tuple(max(answers, key=_written) for answers in answers_of(chain, layout)[:-1]))
        for chain in distinct.values()
    ]
    table = tokenize_conversations(longest, layout=layout, tokenizer=model.tokenizer)
    check_length(table, name=model.metadata["name"], longest=model.config.max_position_embeddings)


def _written(answer: Number) -> int:
    return len(format_value(answer))


def _batches(counts: Sequence[int]) -> list[slice]:
    """Runs of chains whose conversations come to AT_A_TIME, or of one chain with more."""
    cuts, held = [0], 0
    for n, count in enumerate(counts):
        if held and held + count > AT_A_TIME:
            cuts.append(n)
            held = 0
        held += count
    return [slice(start, end) for start, end in itertools.pairwise([*cuts, len(counts)])]


def _all_conversations(chain: Chain, layout: Layout) -> Iterator[Conversation]:
    """Each item of the chain after every combination of answers to those before it, the last answer running fastest."""
    answers = answers_of(chain, layout)
    for k in range(len(chain.items)):
        for given in itertools.product(*answers[:k]):
            yield Conversation(chain, given)


def _distributions(
    model: SimulationModel, asked: Sequence[Conversation], layout: Layout, report: Report
) -> list[Distribution]:
    """The distribution of the answer that each conversation asks for."""
    table = tokenize_conversations(asked, layout=layout, tokenizer=model.tokenizer)
    check_length(table, name=model.metadata["name"], longest=model.config.max_position_embeddings)
    allowed = [layout.answers(one.chain.items[one.asks].scale) for one in asked]
    tries, trie_of_pair = answer_tries(model.tokenizer, allowed)
    return exact_distributions(model, table, tries=tries, trie_of_pair=trie_of_pair, progress=report)


def _joint(
    chain: Chain, layout: Layout, distributions: list[Distribution]
) -> tuple[np.ndarray, tuple[float, ...]]:
    """Probabilities and masses of a `Joint`: multiplies up the conditional distributions of `_all_conversations`."""
    answers = answers_of(chain, layout)
    probs, mass = np.ones(()), []
    rest = iter(distributions)
    for given in range(len(answers)):
        shape = tuple(map(len, answers[:given]))
        own = list(itertools.islice(rest, int(np.prod(shape, dtype=int))))
        mass.append(float(np.sum(probs * np.reshape([one.mass_on_levels for one in own], shape))))
        probs = probs[..., None] * np.reshape([one.probs for one in own], (*shape, len(answers[given])))
    return probs, tuple(mass)


def _pick(answers: tuple[Number, ...], probs: np.ndarray, chance: float) -> Number:
    reached = np.cumsum(probs)
    return answers[min(int(np.searchsorted(reached, chance * reached[-1], side="right")), len(answers) - 1)]
