"""Metrics on the validation part of a split during training: what a checkpoint is chosen by."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import polars as pl

from socsci_jax.data.prompt_table import PromptTable, tokenize_prompts
from socsci_jax.data.tokenizers import Tokenizer
from socsci_jax.data.tries import AnswerTrie, build_trie
from socsci_jax.errors import InputError
from socsci_jax.evaluation.metric import Answers, Pair
from socsci_jax.evaluation.metrics import BY_NAME
from socsci_jax.evaluation.metrics.distributions import entropy, histogram
from socsci_jax.simulation.exact import exact_distributions
from socsci_jax.simulation.model import SimulationModel
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.prompts import Layout
from socsci_jax.studies.scale import format_value
from socsci_jax.studies.schema import Item
from socsci_jax.studies.splits import Split
from socsci_jax.studies.store import StudyStore
from socsci_jax.training.effect_metrics import effect_metrics
from socsci_jax.wording import counted_of

logger = logging.getLogger(__name__)

WASSERSTEIN, ACCURACY = BY_NAME["wasserstein"], BY_NAME["individual_accuracy_draw"]
LOWER_IS_BETTER = {
    "loss": True,
    **{
        name: metric.better == "lower"
        for name, metric in {"wasserstein": WASSERSTEIN, "accuracy": ACCURACY}.items()
    },
    "effect_r": False,
    "effect_rmse": True,
}


class Validator:
    """Exact predictions for a seeded choice of the validation part, compared with the people's answers."""

    def __init__(
        self,
        store: StudyStore,
        split: Split,
        *,
        validation: pl.DataFrame,
        layout: Layout,
        tokenizer: Tokenizer,
        responses: int,
        seed: int,
        longest: int,
    ):
        """Chooses about `responses` answers of `validation`, the split's validation part, all of each chosen outcome.

        Prompts of more than `longest` tokens are excluded.

        Raises InputError if the split has no validation part with levels.
        """
        items = store.item_by_id
        answers = _chosen_answers(store, split, validation, responses=responses, seed=seed)
        table = tokenize_prompts(Pairs.of_store(store, answers), layout=layout, tokenizer=tokenizer)
        length = np.array([len(ids) for ids in table.prefixes])[table.pair_prefix]
        length = length + np.array([len(ids) for ids in table.prompts])[table.pair_prompt]
        kept = np.flatnonzero(length <= longest)
        if kept.size < length.size:
            logger.warning(
                f"validation: {counted_of(length.size - kept.size, length.size, 'prompt')} longer than {longest:,} tokens and excluded"
            )
        self._table: PromptTable = table.of_pairs(kept)
        answers = answers[kept]
        item_ids = answers["item_id"].unique().sort().to_list()
        self._items: Sequence[Item] = [items[i] for i in item_ids]
        self._item_of_answer = np.searchsorted(item_ids, answers["item_id"].to_numpy())
        self._tries: list[AnswerTrie] = [
            build_trie(
                tokenizer.encode_batch([format_value(answer) for answer in layout.answers(item.scale)]),
                end_id=tokenizer.end_of_answer_id,
            )
            for item in self._items
        ]
        levels = [np.array(item.scale.levels) for item in self._items]
        self._codes = np.array(
            [np.searchsorted(levels[i], value) for i, value in zip(self._item_of_answer, answers["value"])]
        )

    @property
    def sees_effects(self) -> bool:
        """Whether some outcome has two arms whose means can be compared."""
        ordered = [item for item in self._items if not item.scale.nominal]
        return len({(item.study_id, item.outcome) for item in ordered}) < len(ordered)

    def __call__(self, model: SimulationModel) -> dict[str, float]:
        """Metrics named validation_*: loss (nats per answer, over the whole vocabulary), wasserstein (exact, on the
        scale's range, mean over items whose levels have an order), accuracy (expected, of one draw; nominal labels are
        right or wrong), entropy_ratio (median over items), and where outcomes have several arms effect_r and effect_rmse
        (`effect_metrics.py`)."""
        distributions = exact_distributions(
            model, self._table, tries=self._tries, trie_of_pair=self._item_of_answer
        )
        losses = [
            -np.log(one.probs[code]) - np.log(one.mass_on_levels)
            for one, code in zip(distributions, self._codes)
        ]
        distances, accuracies, ratios = [], [], []
        means: list[tuple[float, float, str]] = []  # predicted, human, outcome
        for number, item in enumerate(self._items):
            levels = np.array(item.scale.levels)
            of_item = np.flatnonzero(self._item_of_answer == number)
            # What is offered outside the levels comes after them.
            probs = np.stack([distributions[i].probs[: len(levels)] for i in of_item])
            probs /= probs.sum(axis=1, keepdims=True)
            codes = self._codes[of_item]
            human = histogram(codes, levels=len(levels))
            if item.scale.nominal:
                accuracies.extend(probs[np.arange(len(codes)), codes])
            else:
                pair = Pair(predicted=probs.mean(axis=0), human=human, levels_l=levels, n=len(codes))
                distances.append(WASSERSTEIN.of(pair))
                position = (levels - levels[0]) / (levels[-1] - levels[0])
                outcome = f"{item.study_id}/{item.outcome}"
                means.append((probs.mean(axis=0) @ position, human @ position, outcome))
                accuracies.extend(ACCURACY.of(Answers(probs_nl=probs, codes_n=codes, levels_l=levels)))
            ratios.append(entropy_ratio(probs.mean(axis=0), human, people=len(codes)))
        metrics = {
            "loss": np.mean(losses),
            "wasserstein": np.mean(distances) if distances else np.nan,
            "accuracy": np.mean(accuracies),
            "entropy_ratio": np.nanmedian(ratios),
        }
        if means:
            metrics |= effect_metrics(*map(np.array, zip(*means)))
        return {f"validation_{name}": float(value) for name, value in metrics.items()}


def entropy_ratio(predicted: np.ndarray, human: np.ndarray, *, people: int) -> float:
    """How spread out predicted answers are compared with people's: 1 if equally, below 1 if they collapse.

    Expected entropy of as many draws from `predicted` [L] as there were people, over the entropy of their answers
    `human` [L]: few answers look alike whoever gives them, so both sides are judged by equally few.  NaN where people
    all gave one answer.
    """
    of_people = entropy(human)
    if of_people == 0:
        return float("nan")
    drawn = np.random.default_rng(0).multinomial(people, predicted / predicted.sum(), size=200)
    return float(entropy(drawn / people).mean() / of_people)


def _chosen_answers(
    store: StudyStore, split: Split, answers: pl.DataFrame, *, responses: int, seed: int
) -> pl.DataFrame:
    """About `responses` answers on scales of levels, of whole outcomes drawn by seed, so that arms can be compared."""
    items = store.item_by_id
    closed = [i for i in answers["item_id"].unique().sort() if items[i].scale.kind == "levels"]
    if not closed:
        raise InputError(
            f"split {split.name!r} of {store.path} has no validation part with scales of levels; make it with "
            "`socsci-jax data split --validation 0.05`."
        )
    counts = answers.filter(pl.col("item_id").is_in(closed)).group_by("study_id", "outcome").len()
    counts = counts.sort("study_id", "outcome")
    order = np.random.default_rng(seed).permutation(counts.height)
    reached = np.cumsum(counts["len"].to_numpy()[order])
    outcomes = counts[order[: int(np.searchsorted(reached, responses)) + 1]]
    chosen = answers.join(outcomes, on=["study_id", "outcome"], how="semi")["item_id"].unique()
    on_scale = pl.struct("item_id", "value").map_elements(
        lambda row: items[row["item_id"]].scale.allows(row["value"]), return_dtype=pl.Boolean
    )
    return (
        answers.filter(pl.col("item_id").is_in(sorted(set(chosen) & set(closed))))
        .filter(on_scale)
        .sort("item_id", "participant_id", "sample_id")
    )
